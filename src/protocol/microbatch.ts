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
 *              …     payload
 */
import { FailureError } from "./failure.ts";
import { type MinerId, minerIdSchema } from "./ids.ts";

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
  /** Opaque here: whoever knows the stage's shapes checks its length (`src/miner/flow/inbound.ts`). */
  readonly payload: Uint8Array;
}

const fixedBytes = 32;
const keyBytes = 32;

export function encodeMicrobatch(message: MicrobatchMessage): Uint8Array {
  const headerBytes = fixedBytes + keyBytes * message.path.length;
  const bytes = Buffer.allocUnsafeSlow(headerBytes + message.payload.length);
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
  bytes.writeUInt16LE(message.path.length, 30);
  message.path.forEach((miner, index) => {
    bytes.write(miner, fixedBytes + keyBytes * index, "hex");
  });
  bytes.set(message.payload, headerBytes);
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
  const headerBytes = fixedBytes + keyBytes * pathLength;
  const rows = field(5);
  const columns = field(6);
  if (pathLength === 0 || bytes.length < headerBytes) throw malformed("sizes that do not agree");
  const payload = bytes.subarray(headerBytes);
  if ((rows * columns === 0) !== (payload.length === 0)) throw malformed("sizes that do not agree");
  const path = Array.from({ length: pathLength }, (_, index) =>
    minerIdSchema.parse(view.toString("hex", fixedBytes + keyBytes * index, fixedBytes + keyBytes * (index + 1))),
  );
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
    payload,
  };
}

function malformed(what: string): FailureError {
  return new FailureError("malformed-message", `Received a microbatch with ${what}.`);
}
