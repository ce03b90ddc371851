/**
 * Passes frames on from miner to miner. The peer field is rewritten to the sender that the session has proven, and only
 * miners with a place in the same epoch reach each other. A slow receiver slows its senders: they are not read from until it has caught
 * up, so that memory stays bounded.
 */
import { decodeFrame, type Frame, type MessageKind, readdressFrame } from "../../protocol/frames.ts";
import type { MinerId, RunId } from "../../protocol/ids.ts";
import type { Telemetry } from "../../protocol/run-view.ts";
import type { Session } from "./session.ts";

/** A few microbatches of a large model; below, a receiver counts as keeping up. */
const highWaterBytes = 16 << 20;
const lowWaterBytes = 4 << 20;

export type Flow = Telemetry["flows"][number];

/** Told of every frame that is passed on, with its bytes. */
export type FrameListener = (kind: MessageKind, bytes: number) => void;

export interface RelayOptions {
  readonly sessionOf: (minerId: MinerId) => Session | undefined;
  /** The run in whose current epoch the miner has a place. */
  readonly runOf: (minerId: MinerId) => RunId | null;
  /** A frame came from a miner without a place. */
  readonly refused: () => void;
  readonly onFrame?: FrameListener | undefined;
}

export class Relay {
  readonly #options: RelayOptions;
  /** Senders that wait, by receiver. */
  readonly #held = new Map<MinerId, Set<Session>>();
  /** The last message of each sender that could not be delivered: it is told once, not once per chunk. */
  readonly #undelivered = new WeakMap<Session, { readonly peer: MinerId; readonly messageNumber: number }>();
  #flows = new Map<string, Flow>();

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** Throws `FailureError` (malformed-message, message-too-large). Changes `bytes`. */
  forward(from: MinerId, sender: Session, bytes: Uint8Array): void {
    const frame = decodeFrame(bytes);
    const { sessionOf, runOf, refused, onFrame } = this.#options;
    const receiver = sessionOf(frame.peer);
    const run = runOf(from);
    const receiverRun = runOf(frame.peer);
    if (run === null) refused();
    if (receiver === undefined || receiverRun === null || (run !== null && run !== receiverRun)) {
      this.#sayUndeliverable(sender, frame);
      return;
    }
    // Its place was given up a moment ago; that says nothing about the receiver.
    if (run === null) return;
    readdressFrame(bytes, from);
    receiver.sendEncoded(bytes, () => this.#sent(frame.peer, receiver));
    this.#count(from, frame);
    onFrame?.(frame.kind, bytes.length);
    if (receiver.unsentBytes > highWaterBytes) this.#hold(sender, frame.peer);
  }

  /** The receiver is gone: nobody waits for it any longer. */
  forget(receiver: MinerId): void {
    const waiting = this.#held.get(receiver);
    this.#held.delete(receiver);
    for (const sender of waiting ?? []) sender.release(receiver);
  }

  /** Whole messages passed on since the last call. */
  takeFlows(): readonly Flow[] {
    const flows = [...this.#flows.values()];
    this.#flows = new Map();
    return flows;
  }

  #sent(peer: MinerId, receiver: Session): void {
    if (receiver.unsentBytes < lowWaterBytes) this.forget(peer);
  }

  #hold(sender: Session, receiver: MinerId): void {
    const waiting = this.#held.get(receiver) ?? new Set();
    this.#held.set(receiver, waiting.add(sender));
    sender.hold(receiver);
  }

  #sayUndeliverable(sender: Session, { peer, messageNumber }: Frame): void {
    const last = this.#undelivered.get(sender);
    if (last?.peer === peer && last.messageNumber === messageNumber) return;
    this.#undelivered.set(sender, { peer, messageNumber });
    sender.send({ type: "undeliverable", peer });
  }

  #count(from: MinerId, frame: Frame): void {
    const { kind, peer: to } = frame;
    if ((kind !== "forward" && kind !== "backward") || frame.offset + frame.chunk.length < frame.totalBytes) return;
    const key = `${from} ${to} ${kind}`;
    this.#flows.set(key, { from, to, kind, messages: (this.#flows.get(key)?.messages ?? 0) + 1 });
  }
}
