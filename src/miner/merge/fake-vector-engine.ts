/** For tests and the benchmark: an engine whose stage is a vector of weights, and whose step subtracts the merged vector from it. */
import { CompressedMerge } from "../../compute/merge/compressed-merge.ts";
import { optimizerStateLength } from "../../compute/model/optimizer-state.ts";
import type {
  ComputeArguments,
  ComputeCalls,
  ComputeMethod,
  ComputeResult,
  SliceRange,
} from "../../compute/worker-protocol.ts";
import { bytesOf, hashBytes } from "../../protocol/identity.ts";
import type { BlobHash } from "../../protocol/ids.ts";
import type { TrainingConfig } from "../../protocol/run-config.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";

/** What a replica brings to a merge. */
export interface FakeContribution {
  readonly values: Float32Array;
  readonly tokens: number;
}

type RequestOf<M extends "contribution" | "average" | "mergeSlice" | "applyMerged" | "loadResidual"> = Parameters<
  ComputeCalls[M]
>[0];

export class FakeVectorEngine implements ComputeEngine {
  readonly weights: Float32Array;
  /** Of the next merge. */
  contribution: FakeContribution;
  readonly #merge: CompressedMerge;
  #merged = new Float32Array(0);

  constructor(contribution: FakeContribution, training: Pick<TrainingConfig, "mode" | "compression">) {
    this.contribution = contribution;
    this.weights = new Float32Array(contribution.values.length);
    this.#merge = new CompressedMerge(training, this.weights.length);
  }

  get parameters(): number {
    return this.weights.length;
  }

  weightsHash(): BlobHash {
    return hashBytes(bytesOf(this.weights));
  }

  async call<M extends ComputeMethod>(method: M, ...args: ComputeArguments<M>): Promise<ComputeResult<M>> {
    return (await this.#answer(method, args[0])) as ComputeResult<M>;
  }

  #answer(method: ComputeMethod, argument: unknown): unknown {
    switch (method) {
      case "step":
        return { tokens: 0, gradientNorm: 0 };
      case "contribution":
        return this.#contribute(argument as RequestOf<"contribution">);
      case "average":
        return this.#merge.average(argument as RequestOf<"average">);
      case "beginMerge":
        this.#merged = new Float32Array(this.weights.length);
        return undefined;
      case "mergeSlice": {
        const { from, length, payload } = argument as RequestOf<"mergeSlice">;
        this.#merged.set(this.#merge.merged(payload, length), from);
        return undefined;
      }
      case "applyMerged":
        for (const [index, value] of this.#merged.entries())
          this.weights[index] = (this.weights[index] as number) - value;
        this.#merge.end((argument as RequestOf<"applyMerged">).counted);
        return undefined;
      case "weightsHash":
        return this.weightsHash();
      case "residual":
        return this.#merge.residual();
      case "loadResidual":
        return this.#merge.loadResidual((argument as RequestOf<"loadResidual">).payload);
      case "state":
        return {
          weights: this.weights,
          optimizer: new Float32Array(optimizerStateLength("local-steps", this.parameters)),
        };
      default:
        throw new Error(`the fake vector engine has no ${method}`);
    }
  }

  async #contribute({ partitions }: RequestOf<"contribution">) {
    const { values, tokens } = this.contribution;
    if (tokens === 0) return { slices: [], tokens };
    const valuesOf = async ({ from, length }: SliceRange) => values.slice(from, from + length);
    return { slices: await this.#merge.contribute(partitions, valuesOf), tokens };
  }
}
