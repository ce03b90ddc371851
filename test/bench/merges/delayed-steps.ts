/**
 * Bounded staleness, and nothing else of it: a stage's gradients of a step, taken at the weights of that step, are kept for some steps
 * and then stepped on. In `sync` mode an engine hands its summed gradients out and takes any as merged, so that this is the product's
 * optimizer on older gradients. In the product, where `maximumStaleness` lets microbatches overtake steps, a stage's weights may also
 * change between a microbatch's forward and backward pass; here they do not.
 */
import type { ComputeEngine } from "../../../src/compute/engine.ts";
import type { Contribution } from "../../../src/compute/worker-protocol.ts";
import type { Stepping } from "../boundary/train-pipeline.ts";

type SteppedEngine = Pick<ComputeEngine, "contribution" | "beginMerge" | "mergeSlice" | "applyMerged">;

/** `delays`: in optimizer steps; `parameters`: of each stage. The last gradients are stepped on one after the other in the end. */
export class DelayedSteps implements Stepping {
  readonly #stages: readonly { readonly delay: number; readonly length: number; readonly kept: Contribution[] }[];

  constructor(delays: readonly number[], parameters: readonly number[]) {
    this.#stages = delays.map((delay, index) => ({ delay, length: parameters[index] ?? 0, kept: [] }));
  }

  async take(engines: readonly SteppedEngine[]): Promise<void> {
    for (const [index, { delay, length, kept }] of this.#stages.entries()) {
      const engine = engines[index];
      if (engine === undefined) throw new RangeError(`no stage ${index}`);
      kept.push(await engine.contribution({ partitions: [{ from: 0, length }] }));
      await engine.beginMerge();
      if (kept.length > delay) await stepOn(engine, kept);
    }
  }

  async finish(engines: readonly SteppedEngine[]): Promise<void> {
    for (const [index, engine] of engines.entries()) {
      const kept = this.#stages[index]?.kept ?? [];
      while (kept.length > 0) await stepOn(engine, kept);
    }
  }
}

/** On the oldest of the gradients that are kept. */
async function stepOn(engine: SteppedEngine, kept: Contribution[]): Promise<void> {
  const { slices, tokens } = kept.shift() ?? { slices: [], tokens: 0 };
  const [payload] = slices;
  if (payload === undefined) throw new Error("a step without gradients");
  await engine.mergeSlice({ from: 0, length: payload.length / Float32Array.BYTES_PER_ELEMENT, payload });
  await engine.applyMerged({ tokens, counted: true });
}
