/**
 * Puts the chunks of messages together again, and defends the memory that this takes: bytes are kept only as they arrive,
 * a peer has at most one unfinished message of each kind, and all unfinished messages together stay within a budget.
 */
import { FailureError } from "../protocol/failure.ts";
import { type Frame, type MessageKind, maxMessageBytes } from "../protocol/frames.ts";
import type { MinerId } from "../protocol/ids.ts";
import type { PeerMessage } from "./peer-link.ts";

/** A number this little behind the newest one is a repetition; farther away, the sender has begun a new session. */
const repetitionWindow = 1024;
const numbers = 2 ** 32;

interface Unfinished {
  readonly number: number;
  readonly totalBytes: number;
  readonly chunks: Uint8Array[];
  receivedBytes: number;
  /** When the last chunk came, counted in frames: what stands still longest goes first. */
  touched: number;
}

interface Sender {
  newest: number | null;
  readonly unfinished: Map<MessageKind, Unfinished>;
}

export interface ReassemblyOptions {
  /** For all unfinished messages together; by default two of the longest. */
  readonly budgetBytes?: number;
  /** Senders remembered at once; the one quiet for longest is forgotten first. */
  readonly maxSenders?: number;
  /** Told why something was dropped. */
  readonly onDropped: (from: MinerId, failure: FailureError) => void;
}

export class Reassembly {
  readonly #options: ReassemblyOptions;
  readonly #budgetBytes: number;
  readonly #senders = new Map<MinerId, Sender>();
  #heldBytes = 0;
  #frames = 0;

  constructor(options: ReassemblyOptions) {
    this.#options = options;
    this.#budgetBytes = options.budgetBytes ?? 2 * maxMessageBytes;
  }

  /** Bytes of unfinished messages. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Takes one frame; returns the message that it completes, if any. */
  accept(frame: Frame): PeerMessage | null {
    this.#frames += 1;
    const sender = this.#senderOf(frame.peer);
    const message = frame.offset === 0 ? this.#begin(sender, frame) : this.#continued(sender, frame);
    if (message === null) return null;
    if (frame.chunk.length === message.totalBytes) {
      this.#forget(sender, frame.kind);
      return { from: frame.peer, kind: frame.kind, body: frame.chunk };
    }
    message.chunks.push(ownBytes(frame.chunk));
    message.receivedBytes += frame.chunk.length;
    message.touched = this.#frames;
    this.#heldBytes += frame.chunk.length;
    if (message.receivedBytes === message.totalBytes) {
      this.#forget(sender, frame.kind);
      return { from: frame.peer, kind: frame.kind, body: Buffer.concat(message.chunks, message.totalBytes) };
    }
    while (this.#heldBytes > this.#budgetBytes) this.#dropStalest();
    return null;
  }

  /** Drops what has come of a lost peer's messages. */
  forgetPeer(peer: MinerId): void {
    const sender = this.#senders.get(peer);
    if (sender === undefined) return;
    for (const kind of [...sender.unfinished.keys()]) this.#forget(sender, kind);
  }

  #senderOf(peer: MinerId): Sender {
    const sender = this.#senders.get(peer) ?? { newest: null, unfinished: new Map() };
    this.#senders.delete(peer);
    this.#senders.set(peer, sender); // now the most recent in the map's order
    if (this.#senders.size > (this.#options.maxSenders ?? 4096)) {
      const [quietest] = this.#senders.keys();
      if (quietest !== undefined) {
        this.forgetPeer(quietest);
        this.#senders.delete(quietest);
      }
    }
    return sender;
  }

  #begin(sender: Sender, frame: Frame): Unfinished | null {
    if (sender.newest !== null) {
      const behind = (sender.newest - frame.messageNumber + numbers) % numbers;
      const ahead = (frame.messageNumber - sender.newest + numbers) % numbers;
      if (behind < repetitionWindow) {
        this.#dropped(frame, "replayed-message", `message ${frame.messageNumber} came again`);
        return null;
      }
      if (ahead > 1 && ahead < repetitionWindow)
        this.#dropped(frame, "malformed-message", `${ahead - 1} messages before ${frame.messageNumber} are missing`);
    }
    sender.newest = frame.messageNumber;
    // A sender finishes or abandons a message before it begins the next of the same kind.
    this.#forget(sender, frame.kind);
    const message: Unfinished = {
      number: frame.messageNumber,
      totalBytes: frame.totalBytes,
      chunks: [],
      receivedBytes: 0,
      touched: this.#frames,
    };
    sender.unfinished.set(frame.kind, message);
    return message;
  }

  #continued(sender: Sender, frame: Frame): Unfinished | null {
    const message = sender.unfinished.get(frame.kind);
    if (message?.number !== frame.messageNumber) return null; // the rest of one that was dropped
    if (frame.offset === message.receivedBytes && frame.totalBytes === message.totalBytes) return message;
    this.#forget(sender, frame.kind);
    this.#dropped(frame, "malformed-message", `a chunk of message ${frame.messageNumber} is missing or came again`);
    return null;
  }

  #forget(sender: Sender, kind: MessageKind): void {
    const message = sender.unfinished.get(kind);
    if (message === undefined) return;
    this.#heldBytes -= message.receivedBytes;
    sender.unfinished.delete(kind);
  }

  #dropStalest(): void {
    let stalest: { peer: MinerId; sender: Sender; kind: MessageKind; touched: number } | null = null;
    for (const [peer, sender] of this.#senders)
      for (const [kind, { touched }] of sender.unfinished)
        if (stalest === null || touched < stalest.touched) stalest = { peer, sender, kind, touched };
    if (stalest === null) return;
    this.#forget(stalest.sender, stalest.kind);
    this.#options.onDropped(
      stalest.peer,
      new FailureError("memory-full", `unfinished messages exceed ${this.#budgetBytes} bytes`),
    );
  }

  #dropped(frame: Frame, code: "replayed-message" | "malformed-message", text: string): void {
    this.#options.onDropped(frame.peer, new FailureError(code, text));
  }
}

/** A small view must not keep a large buffer; most chunks are nearly all of theirs, and need not be copied. */
function ownBytes(chunk: Uint8Array): Uint8Array {
  return 2 * chunk.length < chunk.buffer.byteLength ? chunk.slice() : chunk;
}
