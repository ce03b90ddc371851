/** For tests: how the fake engine averages steps. All weights are as far from the epoch's start as each other. */
import { MalformedPayloadError } from "../../compute/codec/malformed.ts";
import { decodeVector, encodeVector } from "../../compute/codec/vector.ts";
import type { StepContribution } from "../../compute/step-exchange.ts";
import type { ComputeResult } from "../../compute/worker-protocol.ts";
import type { TrainingConfig } from "../../protocol/run-config.ts";

export class FakeStepExchange {
  /** By how many replicas each step was averaged. */
  readonly averaged: number[] = [];
  /** What the replicas have moved together, as far as it is averaged. */
  #shared = 0;
  #own: readonly Uint8Array[] = [];

  restart(): void {
    this.#shared = 0;
    this.#own = [];
  }

  move(by: number, parameters: number, { compression }: TrainingConfig): readonly Uint8Array[] {
    const values = new Float32Array(parameters).fill(by);
    this.#own = [encodeVector(values, compression.exchange?.codec ?? { kind: "f32" }, 1)];
    return this.#own;
  }

  /** `correction`: what is to be added to the weights. */
  average(
    contributions: readonly StepContribution[],
    parameters: number,
  ): ComputeResult<"applyExchange"> & { readonly correction: number } {
    const malformed: number[] = [];
    let [sum, tokens, own] = [0, 0, 0];
    for (const [index, contribution] of contributions.entries()) {
      const [payload = new Uint8Array(0)] = contribution.parts ?? this.#own;
      try {
        const [moved = 0] = decodeVector(payload, parameters);
        if (contribution.parts === null) own = moved;
        sum += contribution.tokens * moved;
        tokens += contribution.tokens;
      } catch (error) {
        if (!(error instanceof MalformedPayloadError)) throw error;
        malformed.push(index);
      }
    }
    this.averaged.push(contributions.length - malformed.length);
    const mean = tokens === 0 ? 0 : sum / tokens;
    this.#shared += mean;
    return { malformed, outliers: [], correction: mean - own };
  }

  get shared(): number {
    return this.#shared;
  }
}
