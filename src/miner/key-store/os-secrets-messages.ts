/** What passes between the daemon and the process that speaks with the operating system's key store: one request, one reply. */
import { z } from "zod";

const accountSchema = z.string().min(1).max(128);
/** Windows takes 2560 bytes; a key has 119. */
const secretSchema = z.string().max(1024);

export const secretRequestSchema = z.discriminatedUnion("operation", [
  z.strictObject({ operation: z.literal("read"), account: accountSchema }),
  z.strictObject({ operation: z.literal("write"), account: accountSchema, secret: secretSchema }),
  z.strictObject({ operation: z.literal("remove"), account: accountSchema }),
]);
export type SecretRequest = Readonly<z.infer<typeof secretRequestSchema>>;

export const secretReplySchema = z.discriminatedUnion("ok", [
  /** `secret`: what was read; null: there is none, or nothing was to be read. */
  z.strictObject({ ok: z.literal(true), secret: secretSchema.nullable() }),
  z.strictObject({ ok: z.literal(false), reason: z.string().max(1000) }),
]);
export type SecretReply = Readonly<z.infer<typeof secretReplySchema>>;
