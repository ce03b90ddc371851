/**
 * Passes frames on from miner to miner. The peer field is rewritten to the sender that the session has proven, and only
 * miners with a place in the same epoch reach each other. A slow receiver slows its senders: they are not read from until it has caught
 * up, so that memory stays bounded; one that does not catch up is given up, since everything that they say waits meanwhile.
 */
import { decodeFrame, type Frame, type MessageKind, readdressFrame } from "../../protocol/frames.ts";
import type { MinerId, RunId } from "../../protocol/ids.ts";
import type { Telemetry } from "../../protocol/run-view.ts";
import type { Session } from "./session.ts";

/** A few microbatches of a large model; below, a receiver counts as keeping up. */
const highWaterBytes = 16 << 20;
const lowWaterBytes = 4 << 20;
/** To get from the one to the other: 3.4 Mbit/s. */
const catchUpMs = 30_000;

export type Flow = Telemetry["flows"][number];

/** Told of every frame that is passed on, with its bytes. */
export type FrameListener = (kind: MessageKind, bytes: number) => void;

export interface RelayOptions {
  readonly sessionOf: (minerId: MinerId) => RelaySession | undefined;
  /** The run in whose current epoch the miner has a place. */
  readonly runOf: (minerId: MinerId) => RunId | null;
  /** A frame came from a miner without a place. */
  readonly refused: () => void;
  readonly onFrame?: FrameListener | undefined;
  readonly clock: () => number;
}

interface Held {
  readonly sinceMs: number;
  readonly senders: Set<RelaySession>;
}

/** A session, as far as frames pass through it. */
export type RelaySession = Pick<Session, "send" | "sendFrame" | "unsentBytes" | "hold" | "release" | "giveUp">;

export class Relay {
  readonly #options: RelayOptions;
  /** Senders that wait, by receiver. */
  readonly #held = new Map<MinerId, Held>();
  /** The last message of each sender that could not be delivered: it is told once, not once per chunk. */
  readonly #undelivered = new WeakMap<RelaySession, { readonly peer: MinerId; readonly messageNumber: number }>();
  #flows = new Map<string, Flow>();

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** Throws `FailureError` (malformed-message, message-too-large). Changes `bytes`. */
  forward(from: MinerId, sender: RelaySession, bytes: Uint8Array): void {
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
    receiver.sendFrame(bytes, () => this.#sent(frame.peer, receiver));
    this.#count(from, frame);
    onFrame?.(frame.kind, bytes.length);
    if (receiver.unsentBytes > highWaterBytes) this.#hold(sender, frame.peer);
  }

  /** The receiver is gone: nobody waits for it any longer. */
  forget(receiver: MinerId): void {
    const senders = this.#held.get(receiver)?.senders ?? [];
    this.#held.delete(receiver);
    for (const sender of senders) sender.release(receiver);
  }

  /** Ends the sessions of receivers for which others wait too long. */
  giveUpSlowest(): void {
    const { sessionOf, clock } = this.#options;
    for (const [receiver, { sinceMs }] of this.#held) if (clock() - sinceMs > catchUpMs) sessionOf(receiver)?.giveUp();
  }

  /** Whole messages passed on since the last call. */
  takeFlows(): readonly Flow[] {
    const flows = [...this.#flows.values()];
    this.#flows = new Map();
    return flows;
  }

  #sent(peer: MinerId, receiver: RelaySession): void {
    if (receiver.unsentBytes < lowWaterBytes) this.forget(peer);
  }

  #hold(sender: RelaySession, receiver: MinerId): void {
    const held = this.#held.get(receiver) ?? { sinceMs: this.#options.clock(), senders: new Set() };
    this.#held.set(receiver, held);
    held.senders.add(sender);
    sender.hold(receiver);
  }

  #sayUndeliverable(sender: RelaySession, { peer, messageNumber }: Frame): void {
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
