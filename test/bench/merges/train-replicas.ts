/**
 * Replicas of the whole model in this process, with the product's engines, codecs and error feedback: they step, exchange and merge as
 * miners do who always hear each other. There are no links, and nobody is lost.
 */
import { readSample, trainingCrops } from "../../../src/compute/data/samples.ts";
import { openDevice } from "../../../src/compute/device.ts";
import { type ComputeEngine, createEngine } from "../../../src/compute/engine.ts";
import { wholeModel } from "../../../src/compute/model/stages.ts";
import { streamKey, threefry } from "../../../src/compute/random.ts";
import type { StepContribution } from "../../../src/compute/step-exchange.ts";
import { type MinerId, minerIdSchema, type PlaceRef, runIdSchema } from "../../../src/protocol/ids.ts";
import { ownersPerPartition, partitionsOf } from "../../../src/protocol/partitions.ts";
import type { HeldOutOptions } from "../shared/held-out-loss.ts";
import { PayloadMeter } from "./traffic.ts";

export interface ReplicasRun extends HeldOutOptions {
  readonly replicas: number;
  readonly steps: number;
}

export interface ReplicasResult {
  /** What the last merge left in all replicas. */
  readonly weights: Float32Array;
  readonly contributions: PayloadMeter;
  readonly averages: PayloadMeter;
  readonly movements: PayloadMeter;
}

const runId = runIdSchema.parse("bench");

export async function trainReplicas(run: ReplicasRun): Promise<ReplicasResult> {
  const replicas = new Replicas(run);
  await replicas.open();
  const { stepsPerEpoch } = run.training;
  for (let step = 0; step < run.steps; step++) {
    const isLast = (step + 1) % stepsPerEpoch === 0 || step + 1 === run.steps;
    await replicas.step(step, isLast);
    if (isLast && run.replicas > 1) await replicas.merge(Math.floor(step / stepsPerEpoch));
  }
  return replicas.close();
}

class Replicas {
  readonly contributions = new PayloadMeter();
  readonly averages = new PayloadMeter();
  readonly movements = new PayloadMeter();
  readonly #run: ReplicasRun;
  readonly #engines: readonly ComputeEngine[];
  readonly #ids: readonly MinerId[];
  #parameters = 0;
  /** What the step before moved, while it waits to be averaged. */
  #moved: readonly StepContribution[] | null = null;

  constructor(run: ReplicasRun) {
    this.#run = run;
    this.#engines = Array.from({ length: run.replicas }, () => createEngine(openDevice));
    this.#ids = this.#engines.map((_, index) => minerIdSchema.parse(String(index).padStart(64, "0")));
  }

  async open(): Promise<void> {
    const { device, model, training } = this.#run;
    for (const engine of this.#engines) {
      const { parameters } = await engine.open({ ...device, model, training, stage: wholeModel(model) });
      this.#parameters = parameters;
    }
  }

  /** As a daemon does it: an epoch's last step is not exchanged, since the merge follows at once. */
  async step(step: number, isLast: boolean): Promise<void> {
    const { mode, compression } = this.#run.training;
    for (const [index, engine] of this.#engines.entries()) await this.#passMicrobatch(engine, { step, index });
    if (mode === "sync") return;
    const { exchange } = compression;
    if (exchange?.lag === 1) await this.#average();
    if (exchange === null || isLast) for (const engine of this.#engines) await engine.step();
    else await this.#move(step);
    if (exchange?.lag === 0) await this.#average();
  }

  /** Each slice is averaged by its two owners, whose residuals share what the average is rounded by; all go on from the same. */
  async merge(epoch: number): Promise<void> {
    const at: PlaceRef = { runId, epoch, attempt: 0, stage: 0 };
    const partitions = partitionsOf(at, this.#ids, this.#parameters, this.#run.training.compression.merge);
    const contributed = [];
    for (const engine of this.#engines) contributed.push(await engine.contribution({ partitions }));
    for (const { slices } of contributed) this.contributions.count(slices);
    const averages: Uint8Array[] = [];
    for (const { index, from, length, order } of partitions) {
      const contributions = contributed.map(({ slices, tokens }) => ({ payload: slices[index] ?? null, tokens }));
      const owners = order.slice(0, ownersPerPartition).map((id) => this.#ids.indexOf(id));
      const payloads = [];
      for (const own of owners)
        payloads.push((await this.#engines[own]?.average({ from, length, contributions, own }))?.payload);
      const [payload] = payloads;
      if (!payload) throw new Error(`slice ${index} has no average`);
      averages[index] = payload;
    }
    this.averages.count(averages);
    const tokens = contributed.reduce((sum, one) => sum + one.tokens, 0);
    for (const engine of this.#engines) {
      await engine.beginMerge();
      for (const { index, from, length } of partitions)
        await engine.mergeSlice({ from, length, payload: averages[index] ?? new Uint8Array() });
      await engine.applyMerged({ tokens, counted: true });
    }
  }

  async close(): Promise<ReplicasResult> {
    const [first] = this.#engines;
    if (first === undefined) throw new RangeError("no replicas");
    const { weights } = await first.state();
    for (const engine of this.#engines) engine.close();
    const { contributions, averages, movements } = this;
    return { weights, contributions, averages, movements };
  }

  /** The one process's sequences of a step are dealt out in their order. */
  async #passMicrobatch(engine: ComputeEngine, { step, index }: { readonly step: number; readonly index: number }) {
    const { dataset, training } = this.#run;
    const crops = trainingCrops(dataset.manifest, training, { epoch: step, index });
    const sample = readSample(crops, training.sequenceLength, dataset.shardOf);
    await engine.forwardBackward({ microbatch: `${step}`, ...sample, send: null });
  }

  async #move(step: number): Promise<void> {
    const moved: StepContribution[] = [];
    for (const [index, engine] of this.#engines.entries()) {
      const { parts, tokens } = await engine.stepDelta({ seed: this.#seed(step, index) });
      this.movements.count(parts);
      moved.push({ parts, tokens });
    }
    this.#moved = moved;
  }

  async #average(): Promise<void> {
    const moved = this.#moved;
    this.#moved = null;
    if (moved === null) return;
    for (const [own, engine] of this.#engines.entries())
      await engine.applyExchange({
        contributions: moved.map((one, index) => (index === own ? { ...one, parts: null } : one)),
      });
  }

  /** Another one for every replica and step, as daemons draw it. */
  #seed(step: number, index: number): number {
    const words = { first: 0, second: 0 };
    threefry(words, streamKey(this.#run.training.seed, `exchange ${index}`), step, 0);
    return words.first >>> 0;
  }
}
