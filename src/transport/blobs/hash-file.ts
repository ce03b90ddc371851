/** Files as large as may be: one call of the file system, or of a hash, takes less than 2 GiB. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { type BlobHash, blobHashSchema } from "../../protocol/ids.ts";

const pieceBytes = 8 << 20;

/** SHA-256 of a file, read in pieces. Rejects as reading it does. */
export async function hashFile(path: string): Promise<BlobHash> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return blobHashSchema.parse(hash.digest("hex"));
}

/** All of a file, and its SHA-256. Rejects as reading it does. */
export async function readAndHashFile(path: string): Promise<{ readonly bytes: Uint8Array; readonly hash: BlobHash }> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const bytes = Buffer.from(new ArrayBuffer(size)); // owns its memory, aligned: it may be seen as f32 values
    const hash = createHash("sha256");
    let readBytes = 0;
    while (readBytes < size) {
      const { bytesRead } = await file.read(bytes, readBytes, Math.min(pieceBytes, size - readBytes), readBytes);
      if (bytesRead === 0) break; // cut short meanwhile, which its hash will tell
      hash.update(bytes.subarray(readBytes, readBytes + bytesRead));
      readBytes += bytesRead;
    }
    return { bytes, hash: blobHashSchema.parse(hash.digest("hex")) };
  } finally {
    await file.close();
  }
}
