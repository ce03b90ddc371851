/**
 * The working heart of the daemon, seen from outside: it keeps a session with one network, takes the place it is given and
 * trains there. `flow/` and `session/` implement it (`createMiner`); `daemon.ts` decides when it may work and shows what it does.
 */

import type { DeviceReport } from "../protocol/device-report.ts";
import type { FrameBytes } from "../protocol/frames.ts";
import type { HotkeyProof } from "../protocol/hotkey-proof.ts";
import type { Identity } from "../protocol/identity.ts";
import type { RunId } from "../protocol/ids.ts";
import type { LinkReport } from "../protocol/link-report.ts";
import type { LogLine, MachineView, MinerState, PeerView } from "../protocol/machine-view.ts";
import type { OwnerCommand } from "../protocol/owner-commands.ts";
import type { PayoutAddress } from "../protocol/payout-address.ts";
import type { Receipt } from "../protocol/receipt.ts";
import type { RunSummary, RunUpdate } from "../protocol/run-view.ts";
import type { TrafficLimits } from "../transport/traffic/traffic.ts";
import type { Work } from "./memory-report.ts";

export interface MinerOptions {
  readonly identity: Identity;
  /** What people call this machine. */
  readonly name: string;
  /** ws:// or wss:// address of the gateway. */
  readonly networkUrl: string;
  /** For the blob cache; created when missing. */
  readonly stateFolder: string;
  readonly device: DeviceReport;
  readonly threads: number;
  readonly limits: TrafficLimits;
  /** Where to be paid; null: not named. */
  readonly payoutAddress: PayoutAddress | null;
  /** Of whoever vouches for this miner, signed for its key; null: nobody. Only told to networks that it holds for. */
  readonly hotkey: HotkeyProof | null;
  /** Whether other miners may be reached directly, where the network lets them. */
  readonly direct: boolean;
  readonly log: (level: LogLine["level"], source: string, text: string) => void;
}

export interface MinerActivity {
  /** Backward-passed tokens per second over the last few seconds. */
  readonly tokensPerSecond: number;
  readonly tokensForward: number;
  readonly tokensBackward: number;
  /** On the wire, since the miner was made. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly microbatchesInFlight: number;
  readonly trainingSeconds: number;
}

export type MinerEvent =
  | { readonly type: "state"; readonly state: MinerState; readonly network: MachineView["network"] }
  | { readonly type: "run-update"; readonly update: RunUpdate }
  /** The session was opened anew: what comes next is the list of runs and each of them in full again. */
  | { readonly type: "run-reset" }
  | { readonly type: "runs"; readonly runs: readonly RunSummary[] }
  /** The run that this miner works for; null: none. */
  | { readonly type: "assigned"; readonly runId: RunId | null }
  /** The signature was found to be the network's. */
  | { readonly type: "receipt"; readonly receipt: Receipt; readonly signature: Uint8Array };

export interface Miner {
  readonly state: MinerState;
  readonly network: MachineView["network"];
  /** Of the network that it is connected to, or was last; null: not yet. */
  readonly networkId: string | null;
  readonly activity: MinerActivity;
  /** What its connection was measured to carry, within its limits. */
  readonly link: LinkReport;
  /** Those that it speaks with, and how. */
  readonly peers: readonly PeerView[];
  readonly sentFrames: FrameBytes;
  /** What its place makes it train; null without a place. */
  readonly work: Work | null;
  /** Process ids of the live compute workers. */
  readonly workers: readonly number[];
  /** One listener; called in order of events. */
  onEvent(listener: (event: MinerEvent) => void): void;
  /** Connects, and goes on connecting for ever, with back-off. */
  open(): void;
  /** Joins the network and works (`active`), or gives its place up and only watches; `reason` is shown to people. */
  setActive(active: boolean, reason: string): void;
  /** What it may send and receive from now on. */
  limit(limits: TrafficLimits): void;
  /** Where to be paid from now on; null: nowhere. */
  setPayoutAddress(address: PayoutAddress | null): void;
  setHotkey(proof: HotkeyProof | null): void;
  /** As the network's owner. Rejects with `FailureError`: unreachable, or why the network does not do it. */
  command(command: OwnerCommand): Promise<RunId>;
  /** Leaves, hands over what is in flight within `graceMs`, ends the workers and the session. */
  close(graceMs: number): Promise<void>;
}
