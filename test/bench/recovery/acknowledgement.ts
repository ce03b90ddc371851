/** What the killed process has made known, one JSON object per line of its standard output. */
import { z } from "zod";
import { blobHashSchema } from "../../../src/protocol/ids.ts";

export const acknowledgementSchema = z.union([
  /** The reference of a credit whose receipt was sent. */
  z.strictObject({ receipt: z.string() }),
  /** A checkpoint that was announced, by the epoch that starts from it. */
  z.strictObject({ checkpoint: z.int() }),
  /** Everything up to this note was settled. */
  z.strictObject({ note: z.int() }),
  /** An upload that was answered with 201. */
  z.strictObject({ blob: blobHashSchema }),
]);
export type Acknowledgement = z.infer<typeof acknowledgementSchema>;

export const keyFile = "network-key.pem";
export const databaseFile = "network.sqlite";
export const blobFolder = "blobs";
export const notePrefix = "note ";
