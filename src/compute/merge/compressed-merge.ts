/**
 * A replica's end of a compressed merge: encodes what it contributes, averages what it owns, decodes what all of them average to.
 * Both ways are rounded with error feedback: what a contribution loses, this replica's next one carries; what an average loses, the
 * next contributions of its two owners carry, half each (a downlink as in Tang 2019, "DoubleSqueeze", but without a state of its own
 * that owners would have to hand on).
 */
import { ownersPerPartition } from "../../protocol/partitions.ts";
import type { TrainingConfig, VectorCodec } from "../../protocol/run-config.ts";
import { decodeVector } from "../codec/vector.ts";
import { averagePayloads, type PayloadContribution } from "./average-payloads.ts";
import { ErrorFeedback, type RestoredResidual } from "./error-feedback.ts";

export interface AverageRequest {
  /** The slice, in elements of the parameter vector. */
  readonly from: number;
  readonly length: number;
  readonly contributions: readonly PayloadContribution[];
  /** Index of this replica's own contribution, if it is one of the partition's owners. */
  readonly own: number | null;
}

export class CompressedMerge {
  readonly #codec: VectorCodec;
  readonly #mode: TrainingConfig["mode"];
  readonly #feedback: ErrorFeedback;

  /** For vectors of `length` parameters. */
  constructor({ mode, compression }: Pick<TrainingConfig, "mode" | "compression">, length: number) {
    this.#codec = compression.merge;
    this.#mode = mode;
    this.#feedback = new ErrorFeedback(compression.merge, length);
  }

  /** The payloads of a contribution's slices, whose values `valuesOf` brings one after the other. When it fails nothing has changed. */
  async contribute<P extends { readonly from: number }>(
    partitions: readonly P[],
    valuesOf: (partition: P) => Promise<Float32Array>,
  ): Promise<readonly Uint8Array[]> {
    const slices: Uint8Array[] = [];
    this.#feedback.begin();
    try {
      for (const partition of partitions)
        slices.push(this.#feedback.encode(partition.from, await valuesOf(partition), seedOf(partition.from)));
    } catch (error) {
      this.#feedback.undo();
      throw error;
    }
    return slices;
  }

  /** The same payload in both owners. */
  average({ from, length, contributions, own }: AverageRequest): {
    readonly payload: Uint8Array | null;
    readonly outliers: readonly number[];
  } {
    const options = { codec: this.#codec, mode: this.#mode, seed: seedOf(from) };
    const { payload, outliers, error, factors } = averagePayloads(contributions, length, options);
    const factor = own === null ? 0 : (factors[own] ?? 0);
    // Who trained next to nothing this time may count for as much as the others the next.
    const usual = 1 / (2 * contributions.length);
    if (error !== null && factor > 0)
      this.#feedback.carry(from, error, 1 / (ownersPerPartition * Math.max(factor, usual)));
    return { payload, outliers };
  }

  /** Throws `MalformedPayloadError`. */
  merged(payload: Uint8Array, length: number): Float32Array {
    return decodeVector(payload, length);
  }

  /** The merge is over. `counted`: this replica's contribution went into it. */
  end(counted: boolean): void {
    if (counted) this.#feedback.keep();
    else this.#feedback.undo();
  }

  /** What the next contribution is to carry on; null: nothing. */
  residual(): Uint8Array | null {
    return this.#feedback.save();
  }

  loadResidual(payload: Uint8Array): RestoredResidual {
    return this.#feedback.restore(payload);
  }
}

/** All replicas have to draw the same; what is drawn need not change from epoch to epoch, since error feedback makes up for it. */
function seedOf(from: number): number {
  return from >>> 0;
}
