/**
 * What replicas say to each other to merge, and how anyone fetches a blob from anyone: msgpack maps in peer messages of the
 * kinds `merge`, `blob-request` and `blob-part`. `docs/protocol.md` tells the story.
 */
import { Packr } from "msgpackr";
import { z } from "zod";
import { FailureError } from "./failure.ts";
import { blobHashSchema, placeRefSchema } from "./ids.ts";

const count = z.int().nonnegative();

export const mergeMessageSchema = z.discriminatedUnion("type", [
  /** A contributor to an owner: these are my slices, one hash per partition; fetch those that you own. */
  z.strictObject({
    type: z.literal("offer"),
    at: placeRefSchema,
    tokens: count,
    slices: z
      .array(blobHashSchema)
      .max(1 << 16)
      .readonly(),
  }),
  /** An owner to a contributor: all your slices that I own are here. `manifest` is `manifestOf(slices)`. */
  z.strictObject({ type: z.literal("kept"), at: placeRefSchema, manifest: blobHashSchema }),
]);
export type MergeMessage = Readonly<z.infer<typeof mergeMessageSchema>>;

export const blobRequestSchema = z.strictObject({ hash: blobHashSchema, offset: count, length: z.int().positive() });
export type BlobRequest = Readonly<z.infer<typeof blobRequestSchema>>;

/** `bytes` from `offset` on; null: the peer does not have the blob, or not any longer. */
export const blobPartSchema = z.strictObject({
  hash: blobHashSchema,
  offset: count,
  totalBytes: count,
  bytes: z.custom<Uint8Array>((value) => value instanceof Uint8Array).nullable(),
});
export type BlobPart = Readonly<z.infer<typeof blobPartSchema>>;

const packr = new Packr({ useRecords: false });

export function encodeBody(message: MergeMessage | BlobRequest | BlobPart): Uint8Array {
  return packr.pack(message);
}

/** Throws `FailureError` (malformed-message) unless the body fits the schema. */
export function decodeBody<T>(schema: z.ZodType<T>, body: Uint8Array): T {
  let value: unknown;
  try {
    value = packr.unpack(body);
  } catch (cause) {
    throw new FailureError("malformed-message", "not valid msgpack", { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw new FailureError("malformed-message", z.prettifyError(parsed.error).slice(0, 500));
  return parsed.data;
}
