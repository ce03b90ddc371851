/**
 * A microbatch on its way from replica to replica (`forward`, `backward`), or the end of a source's step (`flush`): a fixed
 * little-endian header and, behind it, the payload that the sender's compute worker made and the receiver's reads
 * (`src/compute/codec/rows.ts`). Every one is answered (`answer.ts`).
 *
 *     offset  bytes  field
 *          0      4  epoch
 *          4      4  attempt
 *          8      4  step: optimizer step within the epoch
 *         12      4  microbatch: index within the epoch, over all sources
 *         16      4  sequences
 *         20      4  rows: tokens in the microbatch
 *         24      4  columns: channels that cross; 0 in a flush marker, which has no payload
 *         28      2  stage that this is for: the receiver may hold several
 *         30      2  path length
 *         32   32·n  path: the miners that the microbatch passed, first stage first; back from the last stage: all of them
 *              64    signature of its record (`transfer-record.ts`); not in a flush marker
 *              128   the record that came with what it was computed from: sender, content, signature; not with what a source begins
 *              …     payload
 */
import { FailureError } from "./failure.ts";
import { type MinerId, minerIdSchema } from "./ids.ts";
import type { TransferRecord } from "./transfer-record.ts";

export interface MicrobatchMessage {
  readonly epoch: number;
  readonly attempt: number;
  readonly step: number;
  readonly microbatch: number;
  readonly sequences: number;
  /** The receiver's. */
  readonly stage: number;
  /** Forward: the miners of the stages before the receiver's. Backward: one per stage. Flush: the source. */
  readonly path: readonly MinerId[];
  /** [rows, columns] activations or activation gradients. */
  readonly rows: number;
  readonly columns: number;
  /** The sender's, over its record, in hex; empty in a flush marker. */
  readonly signature: string;
  /** Of what the payload was computed from; null: a source begins with it. */
  readonly origin: TransferRecord | null;
  /** Opaque here: whoever knows the stage's shapes checks its length (`src/miner/flow/inbound.ts`). */
  readonly payload: Uint8Array;
}

const fixedBytes = 32;
const keyBytes = 32;
const digestBytes = 32;
const signatureBytes = 64;
const originBytes = keyBytes + digestBytes + signatureBytes;

/** What lies between the fixed header and the payload: a flush marker is not signed, and what a source begins has no origin. */
function variableBytes(pathLength: number, isTensor: boolean): number {
  const recordBytes = isTensor ? signatureBytes + (pathLength === 1 ? 0 : originBytes) : 0;
  return keyBytes * pathLength + recordBytes;
}

/** Throws `RangeError` for a message that has no origin and needs one, or the other way round: that is a bug. */
export function encodeMicrobatch(message: MicrobatchMessage): Uint8Array {
  const { path, signature, origin, payload } = message;
  const isTensor = payload.length > 0;
  if (isTensor && (path.length === 1) !== (origin === null)) throw new RangeError("an origin where none belongs");
  const headerBytes = fixedBytes + variableBytes(path.length, isTensor);
  const bytes = Buffer.allocUnsafeSlow(headerBytes + payload.length);
  const fields = [
    message.epoch,
    message.attempt,
    message.step,
    message.microbatch,
    message.sequences,
    message.rows,
    message.columns,
  ];
  fields.forEach((field, index) => {
    bytes.writeUInt32LE(field, index * 4);
  });
  bytes.writeUInt16LE(message.stage, 28);
  bytes.writeUInt16LE(path.length, 30);
  const record = isTensor
    ? [signature, ...(origin === null ? [] : [origin.sender, origin.content, origin.signature])]
    : [];
  bytes.write([...path, ...record].join(""), fixedBytes, "hex");
  bytes.set(payload, headerBytes);
  return bytes;
}

/**
 * Throws `FailureError` (malformed-message) when the header is cut short, or when there is a payload for nothing or nothing for a
 * tensor. The message's payload is a view of `bytes`: a received message is nobody else's, and copying it would cost as much as
 * receiving it.
 */
export function decodeMicrobatch(bytes: Uint8Array): MicrobatchMessage {
  if (bytes.length < fixedBytes) throw malformed("a header cut short");
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const field = (index: number) => view.readUInt32LE(index * 4);
  const pathLength = view.readUInt16LE(30);
  const rows = field(5);
  const columns = field(6);
  const isTensor = rows * columns > 0;
  const headerBytes = fixedBytes + variableBytes(pathLength, isTensor);
  if (pathLength === 0 || bytes.length < headerBytes) throw malformed("sizes that do not agree");
  const payload = bytes.subarray(headerBytes);
  if (isTensor !== payload.length > 0) throw malformed("sizes that do not agree");
  const hexAt = (offset: number, length: number) => view.toString("hex", offset, offset + length);
  const pathEnd = fixedBytes + keyBytes * pathLength;
  const originAt = pathEnd + signatureBytes;
  const path = Array.from({ length: pathLength }, (_, index) =>
    minerIdSchema.parse(hexAt(fixedBytes + keyBytes * index, keyBytes)),
  );
  const signature = isTensor ? hexAt(pathEnd, signatureBytes) : "";
  const origin = originAt < headerBytes ? readOrigin(hexAt, originAt) : null;
  return {
    epoch: field(0),
    attempt: field(1),
    step: field(2),
    microbatch: field(3),
    sequences: field(4),
    stage: view.readUInt16LE(28),
    rows,
    columns,
    path,
    signature,
    origin,
    payload,
  };
}

function readOrigin(hexAt: (offset: number, length: number) => string, offset: number): TransferRecord {
  return {
    sender: minerIdSchema.parse(hexAt(offset, keyBytes)),
    content: hexAt(offset + keyBytes, digestBytes),
    signature: hexAt(offset + keyBytes + digestBytes, signatureBytes),
  };
}

function malformed(what: string): FailureError {
  return new FailureError("malformed-message", `Received a microbatch with ${what}.`);
}
