/**
 * Control messages between a miner (or an observer) and the gateway, one way (`client-messages.ts`) and the other
 * (`gateway-messages.ts`): msgpack maps in binary WebSocket messages, checked against their schemas on arrival, and signed but for the
 * first ones (`control-channel.ts`). `docs/protocol.md` tells the story in order; bulk data travels as frames (`frames.ts`) and blobs
 * (HTTP GET and PUT of /blobs/HASH on the same port, with the session's token as bearer).
 */
import { Packr } from "msgpackr";
import { z } from "zod";
import { type ClientMessage, clientMessageSchema } from "./client-messages.ts";
import { FailureError } from "./failure.ts";
import { type GatewayMessage, gatewayMessageSchema } from "./gateway-messages.ts";

/** Raised whenever an older peer could misunderstand a newer one. */
export const protocolVersion = 6;
/** A control message is small; anything longer is an attack or a bug. Sent the other way, an update may carry a whole run's history. */
export const maxClientMessageBytes = 64 << 10;
export const maxServerMessageBytes = 16 << 20;

const count = z.int().nonnegative();

const packr = new Packr({ useRecords: false, encodeUndefinedAsNil: false });

/** First byte of a control message, apart from a frame's "T" and from a signed one's (`control-channel.ts`). */
export const controlMarker = 0x01;

export function encodeMessage(message: ClientMessage | GatewayMessage): Uint8Array {
  return Buffer.concat([Buffer.of(controlMarker), packr.pack(message)]);
}

/**
 * What every version says first, whatever else it has to say: who speaks another one must be able to tell, and to be told. So these
 * two fields of `hello` and `challenge` are read before, and apart from, all others, and never change.
 */
const greetingSchema = z.looseObject({ type: z.enum(["hello", "challenge"]), protocol: count });

/** Throws `FailureError` (malformed-message, message-too-large, unsupported-version). */
export function decodeClientMessage(bytes: Uint8Array): ClientMessage {
  return decode(bytes, clientMessageSchema, maxClientMessageBytes);
}

/** Throws `FailureError` (malformed-message, message-too-large, unsupported-version). */
export function decodeGatewayMessage(bytes: Uint8Array): GatewayMessage {
  return decode(bytes, gatewayMessageSchema, maxServerMessageBytes);
}

function decode<T>(bytes: Uint8Array, schema: z.ZodType<T>, limitBytes: number): T {
  if (bytes.length > limitBytes)
    throw new FailureError(
      "message-too-large",
      `a control message of ${bytes.length} bytes; the limit is ${limitBytes}`,
    );
  if (bytes[0] !== controlMarker) throw new FailureError("malformed-message", "neither a control message nor a frame");
  let value: unknown;
  try {
    value = packr.unpack(bytes.subarray(1));
  } catch (cause) {
    throw new FailureError("malformed-message", "not valid msgpack", { cause });
  }
  mustSpeakOurVersion(value);
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new FailureError("malformed-message", z.prettifyError(parsed.error).slice(0, 500));
  return parsed.data;
}

function mustSpeakOurVersion(value: unknown): void {
  const greeting = greetingSchema.safeParse(value);
  if (!greeting.success || greeting.data.protocol === protocolVersion) return;
  const { type, protocol } = greeting.data;
  const [network, miner] = type === "hello" ? [protocolVersion, protocol] : [protocol, protocolVersion];
  throw new FailureError(
    "unsupported-version",
    `The network speaks protocol ${network}, this machine's program speaks ${miner}.`,
    {
      action:
        miner < network
          ? "Update Train at Home; what this machine has earned stays with its key."
          : "Ask the network's owner to update.",
    },
  );
}
