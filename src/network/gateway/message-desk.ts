/** Where the control messages of open sessions go: to the run that they are about, to the owner's desk, to whoever keeps what miners claim. */
import { FailureError, failureOf } from "../../protocol/failure.ts";
import type { HotkeyProof } from "../../protocol/hotkey-proof.ts";
import type { BlobRef, MinerId } from "../../protocol/ids.ts";
import type { PayoutAddress } from "../../protocol/payout-address.ts";
import type { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import type { MinerMessage } from "../orchestrator/core/event.ts";
import { OwnerDesk } from "../runs/owner-desk.ts";
import type { Runs } from "../runs/runs.ts";
import { mustBeProven } from "./accusations.ts";
import type { Session } from "./session.ts";
import type { Hello, SessionMessage } from "./session-handlers.ts";
import type { TelemetryDesk } from "./telemetry.ts";

/** What miners say about themselves, for whoever keeps it. */
export interface MinerClaims {
  /** A miner says where it wants to be paid; null: nowhere any longer. */
  readonly onPayoutAddress?: (minerId: MinerId, address: PayoutAddress | null) => void;
  /** It says whose hotkey vouches for it; null: nobody's any longer. May reject with `FailureError`, which the miner is told. */
  readonly onHotkey?: (minerId: MinerId, proof: HotkeyProof | null) => Promise<void>;
}

export interface MessageDeskOptions extends MinerClaims {
  readonly networkId: string;
  readonly runs: Runs;
  readonly blobs: Pick<FileBlobStore, "bytesOf">;
  /** Keys that may create, steer and delete runs. */
  readonly owners: ReadonlySet<MinerId>;
  readonly telemetry: TelemetryDesk;
  readonly onBug: (error: unknown) => void;
}

type Command = Extract<SessionMessage, { type: "owner-command" }>;

export class MessageDesk {
  readonly #options: MessageDeskOptions;
  readonly #ownerDesk: OwnerDesk;

  constructor(options: MessageDeskOptions) {
    this.#options = options;
    const { runs, owners, onBug } = options;
    this.#ownerDesk = new OwnerDesk({ runs, owners, onBug });
  }

  /** Throws `FailureError` when the message is refused. */
  take(session: Session, hello: Hello, message: SessionMessage): void {
    const { onPayoutAddress, telemetry } = this.#options;
    if (message.type === "owner-command") void this.#obey(session, hello, message);
    else if (hello.role === "observer") throw new FailureError("not-authorised", "Observers do not train.");
    else if (message.type === "payout") onPayoutAddress?.(hello.minerId, message.address);
    else if (message.type === "hotkey") void this.#takeHotkey(session, hello, message.proof);
    else if (message.type === "progress") telemetry.record(hello.minerId, message);
    else this.#pass(hello, message);
  }

  /** To the run that the message is about. One about a run that is not there is late, and ignored like all that are. */
  #pass({ minerId, name }: Hello, message: MinerMessage): void {
    const { runs, networkId } = this.#options;
    if (message.type === "join") runs.workforce.join(minerId, name, message);
    else if (message.type === "leave") runs.workforce.leave(minerId, message);
    else if (message.type === "link") runs.workforce.measured(minerId, message);
    else {
      const run = runs.find(message.at.runId);
      for (const blob of blobsOf(message)) this.#mustHold(blob);
      if (message.type === "accuse" && run !== undefined) mustBeProven(message, networkId, run);
      run?.orchestrator.submit({ type: "message", from: minerId, name, message });
    }
  }

  async #obey(session: Session, { minerId }: Hello, { id, command }: Command): Promise<void> {
    session.send({ type: "owner-answer", id, answer: await this.#ownerDesk.answer(minerId, command) });
  }

  /** The session goes on without the hotkey where its proof is refused. */
  async #takeHotkey(session: Session, { minerId }: Hello, proof: HotkeyProof | null): Promise<void> {
    const { onHotkey, onBug } = this.#options;
    try {
      await onHotkey?.(minerId, proof);
    } catch (error) {
      const failure = failureOf(error);
      if (failure === undefined) onBug(error);
      else session.refuse(failure);
    }
  }

  #mustHold({ hash, bytes }: BlobRef): void {
    if (this.#options.blobs.bytesOf(hash) !== bytes)
      throw new FailureError("blob-not-found", `The blob ${hash} of ${bytes} bytes has not been stored.`, {
        action: "Upload it first.",
        retry: true,
      });
  }
}

function blobsOf(message: MinerMessage): readonly BlobRef[] {
  return message.type === "stored" ? [message.weights, message.optimizer] : [];
}
