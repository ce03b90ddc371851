/** What is measured, the most important first. */
import { presets } from "../../../src/compute/model/presets.ts";
import { mergeCodecs, type VectorCodec } from "../../../src/protocol/run-config.ts";
import type { ReplicasSchedule, Schedule } from "./schedule.ts";

export const setNames = ["frontier", "intervals", "staleness"] as const;
export type SetName = (typeof setNames)[number];

export interface Experiment {
  /** Says what its schedule is. */
  readonly name: string;
  readonly sets: readonly SetName[];
  readonly schedule: Schedule;
  readonly learningRate: LearningRate;
  /** Percent of the loss that it may cost, next to one process or to the same schedule with merges in f32. */
  readonly target?: { readonly gapTo: "one-process" | "uncompressed"; readonly atMost: number };
}

/**
 * The best of some multiples of a rate: the base rate, or what the experiment of a name was tuned to. One multiple is not tuned: what
 * differs in how payloads are rounded alone is compared at one learning rate.
 */
export interface LearningRate {
  readonly factors: readonly number[];
  /** Null: of the base rate. */
  readonly of: string | null;
}

export const baselineName = "one process";
const frontierReplicas = 4;
export const frontierIntervals = [15, 5] as const;

const { f32, dense1, dense2, dense4, dense8, topk1, topk10 } = mergeCodecs;
const topk3: VectorCodec = { kind: "top-k", share: 0.03 };
const topk2: VectorCodec = { kind: "top-k", share: 0.02 };
const frontierCodecs = { dense2, topk10, dense1, topk3, topk1, dense4, dense8 };

/** Of merges that save at least fifteen times. */
const compressedTarget = { gapTo: "uncompressed", atMost: 0.5 } as const;
/** Of few bits at every step. */
const everyStepTarget = { gapTo: "one-process", atMost: 1 } as const;

const baseline: Experiment = {
  name: baselineName,
  sets: setNames,
  schedule: { kind: "one-process" },
  learningRate: { factors: [Math.SQRT1_2, 1, Math.SQRT2, 2], of: null },
};

/** Local steps between merges `stepsPerEpoch` apart. */
export function mergingName(replicas: number, stepsPerEpoch: number, codec: string): string {
  return `R ${replicas}, merged every ${stepsPerEpoch}, ${codec}`;
}

/** Noisier moments make for shorter steps: replicas may want a learning rate that is higher by √R (ADR 0008). */
function tunedAmong(replicas: number): LearningRate {
  return { factors: [1, Math.sqrt(replicas)], of: null };
}

/** Where every step is averaged: √R times one process's, as runs have it (ADR 0008), and a little less. */
function exchangingAmong(replicas: number): LearningRate {
  return { factors: [Math.sqrt(replicas), Math.sqrt(replicas / 2)], of: baselineName };
}

/** At the learning rate that suits f32. */
function merging(replicas: number, stepsPerEpoch: number, codecs: Record<string, VectorCodec>): readonly Experiment[] {
  const uncompressed = mergingName(replicas, stepsPerEpoch, "f32");
  return Object.entries(codecs).map(([codec, merge]): Experiment => {
    const name = mergingName(replicas, stepsPerEpoch, codec);
    const isFrontier = replicas === frontierReplicas && frontierIntervals.some((steps) => steps === stepsPerEpoch);
    const isInterval = codec === "f32" || codec === "dense2";
    return {
      name,
      sets: [...(isFrontier ? (["frontier"] as const) : []), ...(isInterval ? (["intervals"] as const) : [])],
      schedule: { kind: "replicas", replicas, mode: "local-steps", stepsPerEpoch, merge, exchange: null },
      learningRate: name === uncompressed ? tunedAmong(replicas) : { factors: [1], of: uncompressed },
      ...(codec === "dense2" && { target: stepsPerEpoch === 1 ? everyStepTarget : compressedTarget }),
    };
  });
}

interface ReplicasExperiment extends Experiment {
  readonly schedule: ReplicasSchedule;
}

/** Merges go in the exchange's codec, too. */
function exchanging(replicas: number, stepsPerEpoch: number, codec: "f32" | "dense2", lag: 0 | 1): ReplicasExperiment {
  const merge = mergeCodecs[codec];
  return {
    name: `R ${replicas}, exchanged in ${codec} with lag ${lag}, merged every ${stepsPerEpoch}`,
    sets: ["intervals"],
    schedule: {
      ...{ kind: "replicas", replicas, mode: "local-steps", stepsPerEpoch, merge },
      exchange: { codec: merge, lag },
    },
    learningRate: exchangingAmong(replicas),
    ...(codec === "dense2" && { target: everyStepTarget }),
  };
}

/**
 * With second moments that reach back over as many tokens as the one process's, though each replica sees 1 ⁄ R of them (Marek 2025,
 * arXiv 2507.07101): less noisy, and slower to follow.
 */
function withSlowMoments({ name, schedule, ...same }: ReplicasExperiment): Experiment {
  const beta2 = presets.demo.training.beta2 ** (1 / schedule.replicas);
  return {
    ...same,
    name: `${name}, β2 ${beta2.toFixed(3)}`,
    schedule: { ...schedule, beta2 },
    learningRate: { factors: [1], of: name },
  };
}

/** Gradients, merged at every step: uncompressed, it is the one process. */
function gradients(replicas: number, codec: "dense2" | "dense4"): Experiment {
  const merge = mergeCodecs[codec];
  return {
    name: `R ${replicas}, gradients in ${codec}`,
    sets: ["intervals"],
    schedule: { kind: "replicas", replicas, mode: "sync", stepsPerEpoch: 1, merge, exchange: null },
    learningRate: { factors: [1], of: baselineName },
    target: everyStepTarget,
  };
}

function lone(replicas: number): Experiment {
  return {
    name: `1 ⁄ ${replicas} of the tokens, alone`,
    sets: ["intervals"],
    schedule: { kind: "lone-replica", replicas },
    learningRate: { factors: [1, 1 / Math.sqrt(replicas)], of: baselineName },
  };
}

function delayed(delays: readonly number[], optimizer: "adamw" | "nadam"): Experiment {
  return {
    name: `stages late by ${delays.join(", ")}, ${optimizer}`,
    sets: ["staleness"],
    schedule: { kind: "delayed", optimizer, delays },
    learningRate: { factors: [1, 0.5], of: baselineName },
  };
}

export const experiments: readonly Experiment[] = [
  baseline,
  ...frontierIntervals.flatMap((steps) => merging(frontierReplicas, steps, { f32 })),
  exchanging(4, 15, "dense2", 0),
  exchanging(4, 15, "dense2", 1),
  exchanging(2, 15, "dense2", 0),
  exchanging(2, 15, "dense2", 1),
  gradients(4, "dense4"),
  exchanging(4, 15, "f32", 0),
  withSlowMoments(exchanging(4, 15, "dense2", 0)),
  ...frontierIntervals.flatMap((steps) => merging(frontierReplicas, steps, frontierCodecs)),
  ...[4, 2].flatMap((replicas) => merging(replicas, 1, { f32, dense2 })),
  delayed([2, 1, 0], "adamw"),
  delayed([1, 0, 0], "adamw"),
  ...[30, 100].flatMap((steps) => merging(4, steps, { f32, dense2 })),
  ...[15, 100].flatMap((steps) => merging(2, steps, { f32, dense2 })),
  lone(4),
  lone(2),
  delayed([1, 1, 0], "adamw"),
  delayed([2, 1, 0], "nadam"),
  delayed([1, 0, 0], "nadam"),
  gradients(2, "dense4"),
  gradients(2, "dense2"),
  gradients(4, "dense2"),
  exchanging(4, 100, "dense2", 0),
  exchanging(4, 100, "dense2", 1),
  ...[5, 30].flatMap((steps) => merging(2, steps, { f32, dense2 })),
  exchanging(2, 100, "dense2", 0),
  exchanging(2, 100, "dense2", 1),
  exchanging(2, 15, "f32", 0),
  ...frontierIntervals.flatMap((steps) => merging(frontierReplicas, steps, { topk2 })),
  delayed([1, 1, 0], "nadam"),
  delayed([0, 0, 0], "nadam"),
];
