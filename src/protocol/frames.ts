/**
 * Binary frames: how bulk messages between miners travel, over the gateway's WebSocket or a direct connection.
 *
 * A message (an activation, a gradient, part of a blob) is cut into chunks of at most `maxChunkBytes`; each is one frame:
 *
 *     offset  bytes  field (little-endian)
 *          0      4  magic "TAH1"
 *          4      1  message kind (see messageKinds)
 *          5      3  zero
 *          8     32  peer: the receiver's key on the way to the gateway, the sender's key from the gateway on
 *         40      4  message number, counted up by the sender per receiver from anywhere in each session
 *         44      4  total bytes of the message
 *         48      4  offset of this chunk in the message
 *         52      …  the chunk
 *
 * Chunks of one message arrive in order; chunks of different messages may interleave.
 */
import { FailureError } from "./failure.ts";
import { type MinerId, minerIdSchema } from "./ids.ts";

export const frameHeaderBytes = 52;
/** Larger chunks gain nothing on loopback and delay small messages on a slow link. */
export const maxChunkBytes = 1 << 20;
/** 3,200 tokens × 9,216 channels × f32, the largest activation of the 100B preset, with room to spare. */
export const maxMessageBytes = 256 << 20;

const magic = 0x31484154; // "TAH1"

/**
 * In order of urgency, the most urgent first: what frees memory and lets others go on before what begins new work, then what a step
 * moved, which is as long as the stage and has the next step's time, and bulk last. The bodies: `path-messages.ts` (path),
 * `microbatch.ts` (backward, forward, flush), `answer.ts`, `exchange-messages.ts`, `merge-messages.ts` (merge, blob-request, blob-part).
 */
export const messageKinds = [
  "path",
  "answer",
  "flush",
  "backward",
  "merge",
  "blob-request",
  "forward",
  "exchange",
  "blob-part",
] as const;
export type MessageKind = (typeof messageKinds)[number];

/** Of frames of each kind, headers and all. */
export type FrameBytes = Readonly<Record<MessageKind, number>>;
export const noFrameBytes = Object.fromEntries(messageKinds.map((kind) => [kind, 0])) as FrameBytes;

export interface Frame {
  readonly kind: MessageKind;
  readonly peer: MinerId;
  readonly messageNumber: number;
  readonly totalBytes: number;
  readonly offset: number;
  readonly chunk: Uint8Array;
}

/** Whether a WebSocket message is a frame; otherwise it is a control message. */
export function isFrame(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && bytes[0] === 0x54 && bytes[1] === 0x41 && bytes[2] === 0x48 && bytes[3] === 0x31;
}

export function encodeFrame(frame: Frame): Uint8Array {
  const bytes = Buffer.allocUnsafe(frameHeaderBytes + frame.chunk.length);
  bytes.writeUInt32LE(magic, 0);
  bytes.writeUInt32LE(messageKinds.indexOf(frame.kind), 4);
  bytes.write(frame.peer, 8, "hex");
  bytes.writeUInt32LE(frame.messageNumber, 40);
  bytes.writeUInt32LE(frame.totalBytes, 44);
  bytes.writeUInt32LE(frame.offset, 48);
  bytes.set(frame.chunk, frameHeaderBytes);
  return bytes;
}

/** Throws `FailureError` (malformed-message, message-too-large). The chunk is a view of `bytes`. */
export function decodeFrame(bytes: Uint8Array): Frame {
  if (bytes.length < frameHeaderBytes || !isFrame(bytes)) throw malformed("a frame shorter than its header");
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const kind = messageKinds[view.readUInt32LE(4)];
  if (kind === undefined) throw malformed(`unknown message kind ${view.readUInt32LE(4)}`);
  const totalBytes = view.readUInt32LE(44);
  const offset = view.readUInt32LE(48);
  const chunk = bytes.subarray(frameHeaderBytes);
  if (totalBytes > maxMessageBytes)
    throw new FailureError("message-too-large", `a message of ${totalBytes} bytes; the limit is ${maxMessageBytes}`);
  if (chunk.length > maxChunkBytes)
    throw new FailureError("message-too-large", `a chunk of ${chunk.length} bytes; the limit is ${maxChunkBytes}`);
  if (offset + chunk.length > totalBytes) throw malformed("a chunk that reaches beyond its message");
  if (chunk.length === 0 && totalBytes > 0) throw malformed("an empty chunk");
  return {
    kind,
    peer: minerIdSchema.parse(view.toString("hex", 8, 40)),
    messageNumber: view.readUInt32LE(40),
    totalBytes,
    offset,
    chunk,
  };
}

/** Rewrites the peer field in place, as the gateway does when it passes a frame on. */
export function readdressFrame(bytes: Uint8Array, peer: MinerId): void {
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).write(peer, 8, "hex");
}

function malformed(what: string): FailureError {
  return new FailureError("malformed-message", `Received ${what}.`);
}
