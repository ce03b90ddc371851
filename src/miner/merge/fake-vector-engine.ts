/** For tests and the benchmark: an engine whose stage is a vector of weights, and whose step subtracts the merged vector from it. */
import { optimizerStateLength } from "../../compute/model/optimizer-state.ts";
import type { ComputeArguments, ComputeMethod, ComputeResult, Contribution } from "../../compute/worker-protocol.ts";
import { bytesOf, hashBytes } from "../../protocol/identity.ts";
import type { BlobHash } from "../../protocol/ids.ts";
import type { ComputeEngine } from "../compute-host/compute-worker.ts";

export class FakeVectorEngine implements ComputeEngine {
  readonly weights: Float32Array;
  readonly #contribution: Contribution;
  #merged = new Float32Array(0);

  constructor(contribution: Contribution) {
    this.#contribution = contribution;
    this.weights = new Float32Array(contribution.values.length);
  }

  get parameters(): number {
    return this.weights.length;
  }

  weightsHash(): BlobHash {
    return hashBytes(bytesOf(this.weights));
  }

  async call<M extends ComputeMethod>(method: M, ...args: ComputeArguments<M>): Promise<ComputeResult<M>> {
    return this.#answer(method, args[0]) as ComputeResult<M>;
  }

  #answer(method: ComputeMethod, argument: unknown): unknown {
    switch (method) {
      case "step":
        return { tokens: 0, gradientNorm: 0 };
      case "contribution":
        return this.#contribution;
      case "beginMerge":
        this.#merged = new Float32Array(this.weights.length);
        return undefined;
      case "mergeSlice": {
        const { from, values } = argument as { from: number; values: Float32Array };
        this.#merged.set(values, from);
        return undefined;
      }
      case "applyMerged":
        for (const [index, value] of this.#merged.entries())
          this.weights[index] = (this.weights[index] as number) - value;
        return undefined;
      case "weightsHash":
        return this.weightsHash();
      case "state":
        return {
          weights: this.weights,
          optimizer: new Float32Array(optimizerStateLength("local-steps", this.parameters)),
        };
      default:
        throw new Error(`the fake vector engine has no ${method}`);
    }
  }
}
