/** Which choices a plan has: those of the tables, but for what is decided already or makes no sense. */
import type { BoundaryFormats, Compression, RowFormat, VectorCodec } from "../../protocol/run-config.ts";
import { type Batch, batchEvidence, batchesFor, sequencesOf } from "./batch.ts";
import {
  type BoundaryChoice,
  boundaryChoices,
  type Evidence,
  type ExchangeChoice,
  exchangeChoices,
  type JointMeasurement,
  type MergeChoice,
  measuredStepsPerEpoch,
  mergeChoices,
  stalenessCosts,
} from "./choices.ts";
import type { PlanRequest } from "./plan.ts";

/** By its owner, or because a run that goes on cannot change it. What is left out is open. */
export interface Decisions {
  readonly forward?: RowFormat;
  readonly backward?: RowFormat;
  /** Null: the model has no bottleneck. */
  readonly bottleneckRank?: number | null;
  readonly exchange?: Compression["exchange"];
  readonly merge?: VectorCodec;
  readonly batch?: Batch;
  readonly stepsPerEpoch?: number;
}

export interface Choice {
  readonly boundary: BoundaryChoice;
  readonly exchange: ExchangeChoice;
  readonly merge: MergeChoice;
  readonly batch: Batch;
  /** What the tokens per step cost of the loss, and computing ahead of them. */
  readonly steps: Evidence;
  readonly stepsPerEpoch: number;
}

/** Multiples of the steps between two merges that were asked for. */
const stretches = [1, 2, 4, 8];
const harshness: readonly RowFormat[] = ["f32", "bf16", "int8", "int4", "int2"];

export function openChoices(request: PlanRequest): readonly Choice[] {
  const { training, decided } = request;
  // Sync mode is there to be the same as one process.
  const isExact = training.mode === "sync";
  const { sequencesPerMicrobatch, microbatchesPerStep } = training;
  const asked = isExact ? { sequencesPerMicrobatch, microbatchesPerStep } : undefined;
  const { batch: only = asked } = decided;
  const boundaries = boundariesFor(request);
  const merging = mergingChoices(request);
  return (only === undefined ? batchesFor(request) : [only]).flatMap((batch) => {
    const steps = stepEvidence(request, batch);
    return stepsFor(request, batch).flatMap((stepsPerEpoch) =>
      merging.flatMap(({ exchange, merge }) => {
        const apart = apartFor(exchange, stepsPerEpoch);
        return boundaries.map((boundary) => ({ boundary, exchange: apart, merge, batch, steps, stepsPerEpoch }));
      }),
    );
  });
}

/** What the parts of a measured whole cost by themselves in the model that it was measured with. */
export function partsOf(
  { boundary, width, exchange, merge }: JointMeasurement,
  { replicas }: PlanRequest,
): { readonly boundary: number; readonly exchange: number; readonly merge: number } {
  return {
    boundary: estimatedGap(rowsFor(width), boundary.formats, boundary.rank),
    exchange: exchangesFor(replicas).find((one) => isSame(one.exchange, exchange))?.lossGapPercent ?? 0,
    merge: mergeChoices.find(({ codec }) => isSame(codec, merge))?.lossGapPercent ?? 0,
  };
}

function isSame(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function boundariesFor(request: PlanRequest): readonly BoundaryChoice[] {
  const { model, training, stages, decided } = request;
  const [first] = boundaryChoices;
  const isClosed = stages === 1 || training.mode === "sync";
  const { forward, backward, bottleneckRank: rank } = decided;
  if (isClosed && first !== undefined)
    return [{ ...first, formats: { forward: forward ?? "f32", backward: backward ?? "f32" }, rank: rank ?? null }];
  const rows = rowsFor(model.width);
  const ranked =
    rank === undefined
      ? rows.filter((row) => row.rank === null || row.rank < model.width)
      : rows.flatMap((row) => withRank(row, rank));
  const open = ranked.filter(
    ({ formats }) =>
      (forward === undefined || formats.forward === forward) &&
      (backward === undefined || formats.backward === backward),
  );
  if (open.length > 0) return open;
  const formats = { forward: forward ?? "f32", backward: backward ?? "f32" };
  const lossGapPercent = estimatedGap(ranked, formats, rank ?? null);
  return [{ formats, rank: rank ?? null, width: null, lossGapPercent, measured: null }];
}

/** Of each choice the row of the widest model that is no wider; where there is none, of the narrowest that is wider. */
function rowsFor(width: number): readonly BoundaryChoice[] {
  const rows: BoundaryChoice[] = [];
  for (const row of boundaryChoices) {
    const isKnown = (one: BoundaryChoice) => one.rank === row.rank && isSame(one.formats, row.formats);
    const known = rows.findIndex(isKnown);
    if (known === -1) rows.push(row.width !== null && row.width > width ? { ...row, measured: null } : row);
    else if (row.width === null || row.width <= width) rows[known] = row;
  }
  return rows;
}

/** As a row is for another rank than its own, of which nothing was measured. A model without bottlenecks has no use for one with. */
function withRank(row: BoundaryChoice, rank: number | null): readonly BoundaryChoice[] {
  if (row.rank === rank) return [row];
  if (row.rank === null || rank === null) return [];
  // Of all ranks that were measured the nearest stands for this one.
  const ranks = boundaryChoices.flatMap((one) => (isSame(one.formats, row.formats) ? (one.rank ?? []) : []));
  const nearest = ranks.toSorted((a, b) => Math.abs(a - rank) - Math.abs(b - rank))[0];
  return row.rank === nearest ? [{ ...row, rank, measured: null }] : [];
}

/** Of the mildest row that is no milder either way; the harshest there is costs no less. */
function estimatedGap(rows: readonly BoundaryChoice[], formats: BoundaryFormats, rank: number | null): number {
  const isAsHarsh = (one: RowFormat, other: RowFormat) => harshness.indexOf(one) >= harshness.indexOf(other);
  const ranked = rows.filter((row) => row.rank === rank);
  const harsher = ranked.filter(
    (row) => isAsHarsh(row.formats.forward, formats.forward) && isAsHarsh(row.formats.backward, formats.backward),
  );
  const gaps = (of: readonly BoundaryChoice[]) => of.map(({ lossGapPercent }) => lossGapPercent);
  return harsher.length > 0 ? Math.min(...gaps(harsher)) : Math.max(0, ...gaps(ranked));
}

function mergingChoices({ training, replicas, decided }: PlanRequest): readonly Pick<Choice, "exchange" | "merge">[] {
  const alone: ExchangeChoice = {
    exchange: decided.exchange ?? null,
    replicas: null,
    lossGapPercent: 0,
    measured: "there is nothing to exchange",
  };
  if (training.mode === "sync" || replicas === 1)
    return decidedMerge(mergeChoices.slice(0, 1), decided).map((merge) => ({ exchange: alone, merge }));
  return decidedExchange(exchangesFor(replicas), decided).flatMap((exchange) =>
    decidedMerge(mergeChoices, decided).map((merge) => ({ exchange, merge })),
  );
}

/** Where it matters how many replicas were measured, those of the nearest number that is no larger. */
function exchangesFor(replicas: number): readonly ExchangeChoice[] {
  const measured = exchangeChoices.flatMap((one) => one.replicas ?? []);
  const nearest = Math.max(Math.min(...measured), ...measured.filter((count) => count <= replicas));
  return exchangeChoices.filter((one) => one.replicas === null || one.replicas === nearest);
}

function decidedExchange(open: readonly ExchangeChoice[], { exchange }: Decisions): readonly ExchangeChoice[] {
  if (exchange === undefined) return open;
  const known = open.find((one) => isSame(one.exchange, exchange));
  const [mildest] = open;
  return [known ?? { exchange, replicas: null, lossGapPercent: mildest?.lossGapPercent ?? 0, measured: null }];
}

function decidedMerge(open: readonly MergeChoice[], { merge }: Decisions): readonly MergeChoice[] {
  if (merge === undefined) return open;
  return [open.find(({ codec }) => isSame(codec, merge)) ?? { codec: merge, lossGapPercent: 0, measured: null }];
}

/** Replicas that meet at merges only drift apart the longer, the more steps lie between: about with their square root. */
function apartFor(choice: ExchangeChoice, stepsPerEpoch: number): ExchangeChoice {
  if (choice.exchange !== null || choice.replicas === null || stepsPerEpoch === measuredStepsPerEpoch) return choice;
  const lossGapPercent = choice.lossGapPercent * Math.sqrt(stepsPerEpoch / measuredStepsPerEpoch);
  return { ...choice, lossGapPercent, measured: null };
}

function stepEvidence(request: PlanRequest, batch: Batch): Evidence {
  const { maximumStaleness, optimizer } = request.training;
  const evidence = batchEvidence(request, batch);
  if (maximumStaleness === 0) return evidence;
  const { lossGapPercent, measured } = stalenessCosts[optimizer];
  return { lossGapPercent: evidence.lossGapPercent + lossGapPercent, measured };
}

/** Fewer where a step takes more tokens than were asked for: what an epoch takes decides when newcomers can begin. */
function stepsFor({ training, decided }: PlanRequest, batch: Batch): readonly number[] {
  if (decided.stepsPerEpoch !== undefined) return [decided.stepsPerEpoch];
  if (training.mode === "sync") return [1];
  const asked = Math.max(1, Math.round((training.stepsPerEpoch * sequencesOf(training)) / sequencesOf(batch)));
  return stretches.map((stretch) => asked * stretch);
}
