import type { BlobHash, MinerId } from "../../protocol/ids.ts";
import type { RunState } from "../orchestrator/core/state.ts";

/** Of what a blob has: uploads that break off are sent again. */
const patience = 2;
const slackBytes = 64 << 10;

/** What each miner may upload: the blobs of the snapshots that it was asked to store, and others nothing. */
export class UploadBudgets {
  readonly #state: () => RunState;
  readonly #spentBytes = new Map<BlobHash, number>();
  /** The upload that bytes were spent on. */
  #upload = "";

  constructor(state: () => RunState) {
    this.#state = state;
  }

  /** Undefined for who was not asked to store this blob. */
  remainingBytes(minerId: MinerId, hash: BlobHash): number | undefined {
    this.#forgetOtherUploads();
    const own = this.#state().upload?.stages.filter(({ storer }) => storer === minerId) ?? [];
    const asked = own.flatMap(({ weights, optimizer }) => [weights, optimizer]).find((ref) => ref.hash === hash);
    if (asked === undefined) return undefined;
    return patience * asked.bytes + slackBytes - (this.#spentBytes.get(hash) ?? 0);
  }

  /** False, and nothing is spent, where the budget does not allow it. */
  spend(minerId: MinerId, hash: BlobHash, bytes: number): boolean {
    if (bytes > (this.remainingBytes(minerId, hash) ?? 0)) return false;
    this.#spentBytes.set(hash, (this.#spentBytes.get(hash) ?? 0) + bytes);
    return true;
  }

  #forgetOtherUploads(): void {
    const { upload } = this.#state();
    const current = upload === null ? "" : `${upload.epoch}/${upload.mergedAttempt}`;
    if (current === this.#upload) return;
    this.#upload = current;
    this.#spentBytes.clear();
  }
}
