/**
 * Resident memory of a compute worker that trains a stage as a miner does: microbatches forward and back, steps, and a merge
 * at the end of every epoch. What a process keeps growing by, however little, ends a miner that runs for weeks.
 */
import { readFileSync } from "node:fs";
import { encodeRows } from "../../../src/compute/codec/rows.ts";
import { ComputeHost } from "../../../src/compute/host.ts";
import type { DeviceKind, Precision } from "../../../src/compute/kernels.ts";
import { type PresetName, presets } from "../../../src/compute/model/presets.ts";
import { cutIntoStages } from "../../../src/compute/model/stages.ts";
import { fillNormal, streamKey } from "../../../src/compute/random.ts";
import { mean, median, progress, rounded } from "../shared/report.ts";

export interface GrowthOptions {
  readonly backend: DeviceKind;
  readonly precision: Precision;
  readonly threads: number;
  readonly preset: PresetName;
  readonly steps: number;
}

/** Allocators, and V8's heap, take this share of the steps to find their size. */
const warmupShare = 0.1;
/**
 * Garbage makes resident memory a saw: it is its floor, the lowest sample of each of so many windows, that rises when something
 * is never given back.
 */
const windows = 20;
const mebibyte = 1 << 20;

export async function measureGrowth({ preset, steps, ...device }: GrowthOptions) {
  const { model, training } = presets[preset];
  const stage = cutIntoStages(model, 3)[1];
  if (stage === undefined) throw new Error("three stages have one in the middle");
  const { sequencesPerMicrobatch: sequences, sequenceLength, stepsPerEpoch, seed } = training;
  const shape = { rows: sequences * sequenceLength, columns: model.width };
  const values = new Float32Array(shape.rows * shape.columns);
  fillNormal(values, streamKey(seed, "activations"), 1);
  const send = { format: "f32", noise: 0 } as const;
  const activations = encodeRows(values, shape, { format: "f32", noise: null });
  const gradient = encodeRows(
    values.map((value) => value / 100),
    shape,
    { format: "f32", noise: null },
  );
  const worker = new ComputeHost();
  const samples: Sample[] = [];
  let plannedMiB = 0;
  try {
    const idleBytes = await residentWhenIdle(worker);
    const { memory, parameters } = await worker.call("open", { ...device, model, training, stage });
    plannedMiB = (idleBytes + memory.totalBytes) / mebibyte;
    for (let step = 1; step <= steps; step++) {
      const microbatch = `${step}`;
      await worker.call("forward", { microbatch, sequences, rows: shape.rows, activations, send });
      await worker.call("backward", { microbatch, gradient, send });
      await worker.call("step");
      if (step % stepsPerEpoch === 0) await mergeAlone(worker, parameters);
      samples.push({ step, mebibytes: residentBytes(worker.pid) / mebibyte });
      if (step % Math.ceil(steps / 10) === 0)
        progress(`step ${step} of ${steps}: ${samples.at(-1)?.mebibytes.toFixed(1)} MiB resident`);
    }
  } finally {
    await worker.close();
  }
  const settled = samples.filter(({ step }) => step > warmupShare * steps);
  const resident = settled.map(({ mebibytes }) => mebibytes);
  const growthMiB = slope(floorOf(settled)) * (1 - warmupShare) * steps;
  return {
    ...device,
    preset,
    steps,
    residentMiB: rounded(median(resident), 1),
    /** The idle worker, and what the stage's memory plan says: what training takes, before the first merge's messages. */
    plannedMiB: rounded(plannedMiB, 1),
    trainingOfPlanned: rounded((samples[stepsPerEpoch - 2]?.mebibytes ?? Number.NaN) / plannedMiB, 3),
    spanMiB: rounded(Math.max(...resident) - Math.min(...resident), 1),
    /** Of the floor, along a straight line. */
    growthMiB: rounded(growthMiB, 2),
    growthPercent: rounded((100 * growthMiB) / median(resident), 2),
  };
}

/** Of a worker that has loaded its code and opened a device, but holds no stage. */
async function residentWhenIdle(worker: ComputeHost): Promise<number> {
  await worker.call("devices", { backend: "native" });
  return residentBytes(worker.pid);
}

interface Sample {
  readonly step: number;
  readonly mebibytes: number;
}

function floorOf(samples: readonly Sample[]): readonly Sample[] {
  const size = Math.ceil(samples.length / windows);
  return Array.from({ length: Math.ceil(samples.length / size) }, (_, window) =>
    samples
      .slice(window * size, (window + 1) * size)
      .reduce((low, next) => (next.mebibytes < low.mebibytes ? next : low)),
  );
}

/** Of the straight line through the samples by least squares, in MiB per step. */
function slope(samples: readonly Sample[]): number {
  const meanStep = mean(samples.map(({ step }) => step));
  const meanMebibytes = mean(samples.map(({ mebibytes }) => mebibytes));
  const along = samples.reduce((sum, { step, mebibytes }) => sum + (step - meanStep) * (mebibytes - meanMebibytes), 0);
  return along / samples.reduce((sum, { step }) => sum + (step - meanStep) ** 2, 0);
}

/** Linux only: other systems do not say it in a file. */
function residentBytes(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kibibytes = /^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1];
  if (kibibytes === undefined) throw new Error(`process ${pid} has no resident memory`);
  return Number(kibibytes) * 1024;
}

/** A merge of its own contribution. */
async function mergeAlone(worker: ComputeHost, parameters: number): Promise<void> {
  const whole = { from: 0, length: parameters };
  const { slices, tokens } = await worker.call("contribution", { partitions: [whole] });
  await worker.call("beginMerge");
  for (const payload of slices) await worker.call("mergeSlice", { ...whole, payload });
  await worker.call("applyMerged", { tokens, counted: true });
}
