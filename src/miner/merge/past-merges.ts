/**
 * The slices of a stage's last merges, on this miner's disk: who was away meanwhile makes the current weights of earlier ones with them,
 * instead of fetching these as a whole. Kept where they are compressed, and as long as they are worth it: half of what the weights take,
 * and no more merges than the network tells of.
 */
import { failureOf } from "../../protocol/failure.ts";
import { mostPastMerges } from "../../protocol/gateway-messages.ts";
import type { BlobHash } from "../../protocol/ids.ts";
import type { LogLine } from "../../protocol/machine-view.ts";
import { sliceListBytes } from "../../protocol/partitions.ts";
import type { TrainingConfig } from "../../protocol/run-config.ts";
import type { Offered } from "../../transport/blob-serving.ts";
import type { BlobClient, KeptBlob } from "../../transport/blobs/blob-client.ts";
import type { PeerBlobs } from "../../transport/peer-blobs.ts";

/** Of a stage's last merges nobody keeps more, bytes: half of what the weights take. */
export function mostKeptBytes(parameters: number): number {
  return 2 * parameters;
}

export interface PastMergesOptions {
  readonly blobs: Pick<BlobClient, "keep" | "forget">;
  readonly peerBlobs: Pick<PeerBlobs, "offer" | "offerSource">;
  readonly log: (level: LogLine["level"], text: string) => void;
}

interface PastMerge {
  readonly offers: readonly Offered[];
  readonly slices: ReadonlySet<BlobHash>;
  readonly bytes: number;
}

export class PastMerges {
  readonly #options: PastMergesOptions;
  readonly #mostBytes: number;
  /** Of the merge that is under way. */
  readonly #slices = new Map<BlobHash, KeptBlob>();
  /** Oldest first. */
  #past: readonly PastMerge[] = [];

  /** `parameters`: of the stage. */
  constructor(options: PastMergesOptions, { compression }: TrainingConfig, parameters: number) {
    this.#options = options;
    this.#mostBytes = compression.merge.kind === "f32" ? 0 : mostKeptBytes(parameters);
  }

  /** Never rejects, whatever is wrong with the disk: who cannot have it from here has it from others. */
  async keep(payload: Uint8Array, hash: BlobHash): Promise<void> {
    if (payload.length > this.#mostBytes) return;
    const { blobs, log } = this.#options;
    try {
      this.#slices.set(hash, await blobs.keep(payload));
    } catch (error) {
      const message = failureOf(error)?.message ?? String(error);
      log("debug", `A merged slice is not kept for others: ${message}`);
    }
  }

  /** These slices are what was merged, partition by partition; of those that are null there was none. */
  merged(slices: readonly (BlobHash | null)[]): void {
    const { peerBlobs } = this.#options;
    const hashes = new Set(slices.filter((slice) => slice !== null));
    const kept = [...hashes].flatMap((hash) => this.#slices.get(hash) ?? []);
    this.#slices.clear();
    if (this.#mostBytes === 0 || kept.length < hashes.size) return;
    const offers = kept.map(({ ref, source }) => peerBlobs.offerSource(ref.hash, source));
    const bytes = kept.reduce((sum, { ref }) => sum + ref.bytes, 0);
    const list = peerBlobs.offer(sliceListBytes(slices));
    this.#past = [...this.#past, { offers: [...offers, list], slices: hashes, bytes }];
    while (this.#past.length > mostPastMerges || this.#bytes > this.#mostBytes) this.#dropOldest();
  }

  /** Nothing is offered any more. */
  release(): void {
    this.#slices.clear();
    while (this.#past.length > 0) this.#dropOldest();
  }

  get #bytes(): number {
    return this.#past.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  #dropOldest(): void {
    const [oldest, ...rest] = this.#past;
    if (oldest === undefined) return;
    for (const offered of oldest.offers) offered.withdraw();
    this.#past = rest;
    const slices = [...oldest.slices].filter((slice) => rest.every((later) => !later.slices.has(slice)));
    void this.#forget(slices);
  }

  /** What the system does not delete goes when the cache is full. */
  async #forget(slices: readonly BlobHash[]): Promise<void> {
    try {
      await this.#options.blobs.forget(slices);
    } catch (error) {
      this.#options.log("debug", `Merged slices stay on the disk for a while: ${String(error)}`);
    }
  }
}
