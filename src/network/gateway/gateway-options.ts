import type { UdpAddress } from "../../protocol/gateway-messages.ts";
import type { Identity } from "../../protocol/identity.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { RunUpdate } from "../../protocol/run-view.ts";
import type { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import type { Admission } from "../admission/admission.ts";
import type { Runs } from "../runs/runs.ts";
import type { AddressLimitValues } from "./address-limits.ts";
import type { MinerClaims } from "./message-desk.ts";
import type { FrameListener } from "./relay.ts";
import type { SessionLimits } from "./session-limits.ts";
import type { TlsFiles } from "./tls-files.ts";

export interface GatewayOptions extends MinerClaims {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** The network's: its public half is the network's id. */
  readonly identity: Identity;
  readonly runs: Runs;
  readonly blobs: FileBlobStore;
  /** Keys that may create, steer and delete runs. */
  readonly owners: ReadonlySet<MinerId>;
  readonly admission: Admission;
  /** Null: nothing is encrypted, or a proxy does it. */
  readonly tls?: TlsFiles | null;
  /** Whether all connections from this computer are a proxy's, which says on whose behalf by `X-Forwarded-For`. */
  readonly behindProxy?: boolean;
  /** Where miners begin with direct connections; none: they have none. */
  readonly bootstrap?: readonly UdpAddress[];
  readonly clock: () => number;
  readonly log: (text: string) => void;
  /** Everything that is broadcast, for whoever shares this process. */
  readonly onRunUpdate?: (update: RunUpdate) => void;
  /** Likewise, every frame that is passed on. */
  readonly onFrame?: FrameListener | undefined;
  readonly limits?: Partial<SessionLimits & AddressLimitValues>;
}
