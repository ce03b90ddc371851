/** A blob on its way to the store: read in pieces, and hashed as they go. */
import { createHash } from "node:crypto";
import { FailureError } from "../../protocol/failure.ts";
import type { BlobRef } from "../../protocol/ids.ts";
import type { BlobSource } from "../blob-serving.ts";
import type { TransferBody } from "./http-transfers.ts";

/** Read at once: the link may take much smaller pieces, and each read of a file costs three calls and as many wake-ups. */
const readBytes = 256 << 10;

/**
 * The pieces of a blob, from its beginning, once. The end of it is given only if all of it has the blob's hash: otherwise the piece
 * rejects with `FailureError` (blob-not-found), the request breaks off, and the store has nothing to keep. Rejects as the source, too.
 */
export function checkedBody(ref: BlobRef, source: BlobSource): TransferBody {
  const digest = createHash("sha256");
  let offset = 0;
  /** Read, and not given yet. */
  let rest: Uint8Array = new Uint8Array(0);

  async function readOn(): Promise<Uint8Array> {
    const read = await source.read(offset, Math.min(readBytes, ref.bytes - offset));
    offset += read.length;
    digest.update(read);
    const isWrong = offset === ref.bytes ? digest.digest("hex") !== ref.hash : read.length === 0;
    if (isWrong) throw new FailureError("blob-not-found", `The file of the blob ${ref.hash} is no longer what it was.`);
    return read;
  }

  return {
    bytes: ref.bytes,
    async next(mostBytes) {
      if (rest.length === 0) rest = await readOn();
      const piece = rest.subarray(0, mostBytes);
      rest = rest.subarray(piece.length);
      return piece;
    },
  };
}
