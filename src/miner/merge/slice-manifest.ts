/**
 * The list of a contribution's slices, as a blob that is named by the contribution's manifest: who missed the offer fetches it
 * from anyone who has it.
 */
import { type BlobHash, type BlobRef, blobHashSchema } from "../../protocol/ids.ts";
import type { Offered } from "../../transport/blob-serving.ts";
import type { PeerBlobs } from "../../transport/peer-blobs.ts";

const hashBytes = 32;

/** Its hash is `manifestOf(slices)`. */
export function offerManifest(peerBlobs: PeerBlobs, slices: readonly BlobHash[]): Offered {
  return peerBlobs.offer(Buffer.from(slices.join(""), "hex"));
}

export function manifestRef(manifest: BlobHash, slices: number): BlobRef {
  return { hash: manifest, bytes: hashBytes * slices };
}

export function slicesIn(bytes: Uint8Array): readonly BlobHash[] {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
  return Array.from({ length: bytes.length / hashBytes }, (_, index) =>
    blobHashSchema.parse(hex.slice(2 * hashBytes * index, 2 * hashBytes * (index + 1))),
  );
}
