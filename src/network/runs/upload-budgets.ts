import type { BlobHash, MinerId } from "../../protocol/ids.ts";
import { uploadBytes } from "../orchestrator/core/definition.ts";
import { isLive } from "../orchestrator/core/replicas.ts";
import type { RunState } from "../orchestrator/core/state.ts";

/** Of what an epoch needs: uploads that break off are sent again. */
const patience = 2;
const slackBytes = 64 << 10;

/** How much each member of the epoch may upload in one attempt: what its stages' checkpoints need, and others nothing. */
export class UploadBudgets {
  readonly #state: () => RunState;
  readonly #spentBytes = new Map<MinerId, number>();
  readonly #hashes = new Set<BlobHash>();
  #attempt = "";

  constructor(state: () => RunState) {
    this.#state = state;
  }

  /** What members count on in this attempt: to be kept, though what they will say of it may still be on its way. */
  get hashes(): Iterable<BlobHash> {
    return this.#hashes;
  }

  /** A member has uploaded this blob of the store, or has found it there and need not. */
  rely(hash: BlobHash): void {
    this.#forgetOtherAttempts();
    this.#hashes.add(hash);
  }

  /** Undefined for who has no place in the epoch. */
  remainingBytes(minerId: MinerId): number | undefined {
    this.#forgetOtherAttempts();
    const { replicas, stages } = this.#state();
    const held = stages.filter(({ spec }) =>
      replicas[spec.index]?.some((replica) => replica.minerId === minerId && isLive(replica)),
    );
    if (held.length === 0) return undefined;
    const needed = held.reduce((sum, { parameters }) => sum + uploadBytes(parameters), 0);
    return patience * needed + slackBytes - (this.#spentBytes.get(minerId) ?? 0);
  }

  /** False, and nothing is spent, where the budget does not allow it. */
  spend(minerId: MinerId, bytes: number): boolean {
    if (bytes > (this.remainingBytes(minerId) ?? 0)) return false;
    this.#spentBytes.set(minerId, (this.#spentBytes.get(minerId) ?? 0) + bytes);
    return true;
  }

  #forgetOtherAttempts(): void {
    const { epoch, attempt } = this.#state();
    const current = `${epoch}/${attempt}`;
    if (current === this.#attempt) return;
    this.#attempt = current;
    this.#spentBytes.clear();
    this.#hashes.clear();
  }
}
