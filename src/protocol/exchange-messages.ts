/**
 * What the replicas of a stage say to each other at every optimizer step to average what it moved (`src/miner/exchange`): peer
 * messages of the kind `exchange`, a fixed little-endian header and, in a `moved`, the payload behind it.
 *
 *     offset  bytes  field
 *          0      4  epoch
 *          4      4  attempt
 *          8      4  step: optimizer step within the epoch
 *         12      4  tokens: that the sender stepped on; 0 unless it says `moved`
 *         16      2  stage
 *         18      1  type (see `exchangeTypes`)
 *         19      1  zero
 *         20      2  part (see `exchangeParts`); 0 unless it says `moved` or `ask`
 *         22      2  parts: that the sender's movement has, 0: it has not moved; 0 unless it says `moved`
 *         24     64  signature of its record (`transfer-record.ts`); only in a `moved`
 *                  …  payload: one part of the movement, encoded (`src/compute/codec/vector.ts`)
 */
import { FailureError } from "./failure.ts";

export const exchangeTypes = [
  /** One part of what the sender's step moved. */
  "moved",
  /** Send me this part, if you have taken this step. */
  "ask",
  /** I have not taken this step yet. */
  "pending",
  /** I shall never have anything to say of this step, or not any more. */
  "gone",
] as const;

interface ExchangeHeader {
  readonly epoch: number;
  readonly attempt: number;
  readonly stage: number;
  readonly step: number;
}

/** What was moved by a step, as one replica tells it to another; several messages if it is large. */
export type MovedMessage = ExchangeHeader & {
  readonly type: "moved";
  /** Its weight in the average. */
  readonly tokens: number;
  readonly part: number;
  /** 0: nothing was moved, and there is no payload. */
  readonly parts: number;
  /** The sender's, over the record of this part, in hex. */
  readonly signature: string;
  readonly payload: Uint8Array;
};

export type ExchangeMessage =
  | MovedMessage
  | (ExchangeHeader & { readonly type: "ask"; readonly part: number })
  | (ExchangeHeader & { readonly type: "pending" | "gone" });

/** A stage's replicas exchange in groups of so many at most (`src/miner/exchange/exchange-group.ts`). */
export const largestExchangeGroup = 4;

const headerBytes = 24;
const signatureBytes = 64;

/** As many parameters travel in one message, and are decoded and averaged at once: 4 MiB as f32, 256 KiB in 2 bits each. */
const parametersInPart = 1 << 20;

/** Elements `from` … `from + length − 1` of a stage's parameter vector. */
export interface ExchangePart {
  readonly from: number;
  readonly length: number;
}

/** How a stage's parameter vector is cut: each part is encoded by itself. */
export function exchangeParts(parameters: number): readonly ExchangePart[] {
  return Array.from({ length: Math.ceil(parameters / parametersInPart) }, (_, index) => {
    const from = index * parametersInPart;
    return { from, length: Math.min(parametersInPart, parameters - from) };
  });
}

export function encodeExchange(message: ExchangeMessage): Uint8Array {
  const { tokens, part, parts, signature, payload } = { ...nothing, ...message };
  const payloadAt = headerBytes + signature.length / 2;
  const bytes = Buffer.alloc(payloadAt + payload.length);
  [message.epoch, message.attempt, message.step, tokens].forEach((field, index) => {
    bytes.writeUInt32LE(field, index * 4);
  });
  bytes.writeUInt16LE(message.stage, 16);
  bytes.writeUInt8(exchangeTypes.indexOf(message.type), 18);
  bytes.writeUInt16LE(part, 20);
  bytes.writeUInt16LE(parts, 22);
  bytes.write(signature, headerBytes, "hex");
  bytes.set(payload, payloadAt);
  return bytes;
}

/** Throws `FailureError` (malformed-message). The payload is a view of `bytes`. */
export function decodeExchange(bytes: Uint8Array): ExchangeMessage {
  if (bytes.length < headerBytes) throw malformed("a header cut short");
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const type = exchangeTypes[view.readUInt8(18)];
  if (type === undefined || view.readUInt8(19) !== 0) throw malformed("an unknown type");
  const header = {
    epoch: view.readUInt32LE(0),
    attempt: view.readUInt32LE(4),
    step: view.readUInt32LE(8),
    stage: view.readUInt16LE(16),
  };
  const [tokens, part, parts] = [view.readUInt32LE(12), view.readUInt16LE(20), view.readUInt16LE(22)];
  if (type === "moved") {
    const payloadAt = headerBytes + signatureBytes;
    if (bytes.length < payloadAt) throw malformed("no signature");
    const signature = view.toString("hex", headerBytes, payloadAt);
    const payload = bytes.subarray(payloadAt);
    const isNothing = tokens === 0 && part === 0 && parts === 0 && payload.length === 0;
    if (!isNothing && (tokens === 0 || part >= parts || payload.length === 0))
      throw malformed("a movement that is none");
    return { ...header, type, tokens, part, parts, signature, payload };
  }
  if (tokens !== 0 || parts !== 0 || bytes.length !== headerBytes) throw malformed(`more than "${type}" says`);
  if (type === "ask") return { ...header, type, part };
  if (part !== 0) throw malformed(`more than "${type}" says`);
  return { ...header, type };
}

const nothing = { tokens: 0, part: 0, parts: 0, signature: "", payload: new Uint8Array(0) };

function malformed(what: string): FailureError {
  return new FailureError("malformed-message", `Received an exchange message with ${what}.`);
}
