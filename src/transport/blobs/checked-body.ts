/** A blob on its way to the store: read in pieces, and hashed as they go. */
import { createHash } from "node:crypto";
import { FailureError } from "../../protocol/failure.ts";
import type { BlobRef } from "../../protocol/ids.ts";
import type { BlobSource } from "../blob-serving.ts";
import type { TransferBody } from "./http-transfers.ts";

/**
 * The pieces of a blob, from its beginning, once. The last one is given only if all of them have the blob's hash: otherwise the piece
 * rejects with `FailureError` (blob-not-found), the request breaks off, and the store has nothing to keep. Rejects as the source, too.
 */
export function checkedBody(ref: BlobRef, source: BlobSource): TransferBody {
  const digest = createHash("sha256");
  let offset = 0;
  return {
    bytes: ref.bytes,
    async next(mostBytes) {
      const piece = await source.read(offset, Math.min(mostBytes, ref.bytes - offset));
      offset += piece.length;
      digest.update(piece);
      const isWrong = offset === ref.bytes ? digest.digest("hex") !== ref.hash : piece.length === 0;
      if (isWrong)
        throw new FailureError("blob-not-found", `The file of the blob ${ref.hash} is no longer what it was.`);
      return piece;
    },
  };
}
