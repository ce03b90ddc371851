import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type BlobHash, blobHashSchema } from "../../protocol/ids.ts";

/** SHA-256 of a file however large, read in pieces. Rejects as reading it does. */
export async function hashFile(path: string): Promise<BlobHash> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return blobHashSchema.parse(hash.digest("hex"));
}
