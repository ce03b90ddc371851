/**
 * What the two ends of a link tell each other about the way that their messages take: `moved`, `broken` and `received` over the gateway,
 * as peer messages of the kind `path`; `granted` and `arrived` on a direct connection, between its frames. `docs/protocol.md` tells the
 * story. A connection is named by the hash of its handshake, which both ends know and nobody chooses.
 */
import { Packr } from "msgpackr";
import { z } from "zod";
import { FailureError } from "./failure.ts";

const count = z.int().nonnegative();
const connection = z.string().regex(/^[0-9a-f]{16,128}$/, "must be a handshake's hash in hex");

export const pathMessageSchema = z.discriminatedUnion("type", [
  /** This is the last message over the gateway; further ones come over the connection. */
  z.strictObject({ type: z.literal("moved"), connection }),
  /** The connection carries nothing any more: how many messages had come? */
  z.strictObject({ type: z.literal("broken"), connection }),
  /** So many were complete, and no more will be taken. Null: the connection is not known here. */
  z.strictObject({ type: z.literal("received"), connection, messages: count.nullable() }),
]);
export type PathMessage = Readonly<z.infer<typeof pathMessageSchema>>;

export const connectionMessageSchema = z.discriminatedUnion("type", [
  /** In all, so many bytes of frames may be sent; so many messages have arrived complete. The first one says that the connection works. */
  z.strictObject({ type: z.literal("granted"), bytes: count, messages: count }),
  /** `moved` has come: the messages that follow it may begin. */
  z.strictObject({ type: z.literal("arrived") }),
]);
export type ConnectionMessage = Readonly<z.infer<typeof connectionMessageSchema>>;

/** These are small; whoever sends more attacks. */
const maxPathMessageBytes = 1024;

const packr = new Packr({ useRecords: false });

export function encodePathMessage(message: PathMessage | ConnectionMessage): Uint8Array {
  return packr.pack(message);
}

/** Throws `FailureError` (malformed-message, message-too-large) unless the bytes fit the schema. */
export function decodePathMessage<T>(schema: z.ZodType<T>, bytes: Uint8Array): T {
  if (bytes.length > maxPathMessageBytes)
    throw new FailureError("message-too-large", `a message of ${bytes.length} bytes about a path`);
  let value: unknown;
  try {
    value = packr.unpack(bytes);
  } catch (cause) {
    throw new FailureError("malformed-message", "not valid msgpack", { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new FailureError("malformed-message", z.prettifyError(parsed.error).slice(0, 500));
  return parsed.data;
}
