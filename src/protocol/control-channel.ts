/**
 * Control messages as they travel once a session knows its client: each signed by who says it, and in its place.
 *
 *     offset  bytes  field (little-endian)
 *          0      1  0x02
 *          1      6  sequence: the sender's first signed message of the session is 0, each further one is one more
 *          7      6  when it was sent, in milliseconds of the sender's clock, which may count from anywhere
 *         13     64  ed25519 signature
 *         77      …  the message (`messages.ts`)
 *
 * The miner's signatures are its key's, the gateway's are the network's, whose public half is the network's id. What is signed:
 * `train-at-home control 1\n`, who speaks (`client` or `gateway`), `\n`, the session's digest, sequence and time as above, and the
 * message's SHA-256. The digest covers all that was said before, so that nothing signed means anything in another session.
 *
 * Any message that breaks this ends the session. The next one resumes what this one was about.
 */
import { createHash, hash } from "node:crypto";
import type { ClientMessage } from "./client-messages.ts";
import { FailureError } from "./failure.ts";
import type { GatewayMessage } from "./gateway-messages.ts";
import { type Identity, verifySignature } from "./identity.ts";
import type { MinerId } from "./ids.ts";
import { controlMarker, encodeMessage } from "./messages.ts";

const signedMarker = 0x02;
const sequenceAt = 1;
const sentAt = 7;
const signatureAt = 13;
const bodyAt = 77;
/** That signing adds to a message. */
export const signedHeaderBytes = bodyAt;

/**
 * So much later than the session's fastest message one may come. Frames wait in front of it: the 16 MiB that the gateway lets wait for
 * a receiver take a line of half a Mbit/s four and a half minutes.
 */
export const mostDelayMs = 300_000;
/** Two clocks may drift apart so fast: ten times what the cheapest crystals do, so that sessions of weeks do not end by it. */
const clockDrift = 1e-3;

/** Who says a message. */
type Speaker = "client" | "gateway";

/** A message, encoded and hashed once for any number of sessions. */
export interface MessageBody {
  readonly bytes: Uint8Array;
  readonly sha256: Uint8Array;
}

export function messageBody(message: ClientMessage | GatewayMessage): MessageBody {
  return bodyOf(encodeMessage(message));
}

/** Of an encoded message. */
export function bodyOf(bytes: Uint8Array): MessageBody {
  return { bytes, sha256: sha256(bytes) };
}

/** Of a session: SHA-256 over its `challenge` and its `hello`, byte for byte as they were sent, each behind its length (u32). */
export function sessionDigest(challenge: Uint8Array, hello: Uint8Array): Uint8Array {
  const digest = createHash("sha256");
  for (const bytes of [challenge, hello]) {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    digest.update(length).update(bytes);
  }
  return digest.digest();
}

export interface ControlChannelOptions {
  /** Who this end is. */
  readonly speaker: Speaker;
  readonly identity: Pick<Identity, "sign">;
  /** The other end's key: the miner's, or the network's. */
  readonly peer: MinerId;
  /** `sessionDigest`. */
  readonly session: Uint8Array;
}

/** One end of a session's control messages, both ways. Times are this end's: they may count from anywhere, but never backwards. */
export class ControlChannel {
  readonly #identity: Pick<Identity, "sign">;
  readonly #peer: MinerId;
  readonly #sending: Buffer;
  readonly #receiving: Buffer;
  #nextSent = 0;
  #nextReceived = 0;
  /** The fastest message so far: it tells how far the clocks are apart. `delayMs` is by two clocks, and may be anything. */
  #fastest: { readonly delayMs: number; readonly atMs: number } | null = null;
  #isBroken = false;

  constructor({ speaker, identity, peer, session }: ControlChannelOptions) {
    this.#identity = identity;
    this.#peer = peer;
    this.#sending = contextOf(speaker, session);
    this.#receiving = contextOf(speaker === "client" ? "gateway" : "client", session);
  }

  /** Whether something came that the other end cannot have sent, or not then: nothing more is taken. */
  get isBroken(): boolean {
    return this.#isBroken;
  }

  /** The next message to the other end, which has to be sent: one that is missing ends the session. */
  seal(body: MessageBody, nowMs: number): Uint8Array {
    const bytes = Buffer.allocUnsafe(bodyAt + body.bytes.length);
    bytes[0] = signedMarker;
    bytes.writeUIntLE(this.#nextSent++, sequenceAt, 6);
    bytes.writeUIntLE(Math.round(nowMs), sentAt, 6);
    bytes.set(this.#identity.sign(signedBytes(this.#sending, bytes, body.sha256)), signatureAt);
    bytes.set(body.bytes, bodyAt);
    return bytes;
  }

  /**
   * The message in what has come, a view of it. Throws `FailureError`, and from then on always: malformed-message, bad-signature,
   * replayed-message for one that comes again, too late or without those before it.
   */
  open(received: Uint8Array, nowMs: number): Uint8Array {
    try {
      return this.#open(Buffer.from(received.buffer, received.byteOffset, received.byteLength), nowMs);
    } catch (error) {
      this.#isBroken = true;
      throw error;
    }
  }

  #open(bytes: Buffer, nowMs: number): Uint8Array {
    if (this.#isBroken) throw violation("replayed-message", "A control message came after this session had ended.");
    if (bytes[0] === controlMarker) throw violation("bad-signature", "A control message came without a signature.");
    if (bytes[0] !== signedMarker || bytes.length < bodyAt)
      throw violation("malformed-message", "Neither a frame nor a whole control message.");
    const body = bytes.subarray(bodyAt);
    const signed = signedBytes(this.#receiving, bytes, sha256(body));
    if (!verifySignature(this.#peer, signed, bytes.subarray(signatureAt, bodyAt)))
      throw violation("bad-signature", "A control message was changed on its way, or is of somebody else.");
    this.#mustBeNext(bytes.readUIntLE(sequenceAt, 6));
    this.#mustBeFresh(bytes.readUIntLE(sentAt, 6), nowMs);
    return body;
  }

  #mustBeNext(sequence: number): void {
    const expected = this.#nextReceived++;
    if (sequence < expected) throw violation("replayed-message", `Control message ${sequence} came again.`);
    if (sequence > expected)
      throw violation("replayed-message", `Control message ${sequence} came, and ${expected} never did.`);
  }

  #mustBeFresh(sentAtMs: number, nowMs: number): void {
    const delayMs = nowMs - sentAtMs;
    const last = this.#fastest ?? { delayMs, atMs: nowMs };
    const expectedMs = last.delayMs + (nowMs - last.atMs) * clockDrift;
    if (delayMs - expectedMs > mostDelayMs)
      throw violation(
        "replayed-message",
        `A control message came ${Math.round((delayMs - expectedMs) / 1000)} s late.`,
        `That is so after one of the two computers was asleep. ${interference}`,
      );
    this.#fastest = { delayMs: Math.min(delayMs, expectedMs), atMs: nowMs };
  }
}

function contextOf(speaker: Speaker, session: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`train-at-home control 1\n${speaker}\n`), session]);
}

function signedBytes(context: Buffer, message: Buffer, bodySha256: Uint8Array): Uint8Array {
  return Buffer.concat([context, message.subarray(sequenceAt, signatureAt), bodySha256]);
}

function sha256(bytes: Uint8Array): Uint8Array {
  return hash("sha256", bytes, "buffer");
}

const interference = "If it happens again and again, somebody interferes on the way: reach the network over wss://.";

function violation(
  code: "malformed-message" | "bad-signature" | "replayed-message",
  message: string,
  action = interference,
): FailureError {
  return new FailureError(code, message, { action, retry: true });
}
