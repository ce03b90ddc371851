/** The butterfly merge, stage by stage: owners average partitions, replicas apply the averaged slices and must agree on the weights. */
import { assertNever } from "../../../protocol/assert-never.ts";
import type { ClientMessage } from "../../../protocol/client-messages.ts";
import { countedTokens } from "../../../protocol/counted-tokens.ts";
import type { BlobHash, MinerId } from "../../../protocol/ids.ts";
import { mergeOrder, ownersPerPartition, partitionCount } from "../../../protocol/partitions.ts";
import { allOutOfStep } from "./keeping.ts";
import { applyMessage, partitionsToReduce, reduceOf } from "./merge-commands.ts";
import type { Next } from "./next.ts";
import { askedOf, holdersOf, judgeAll, untouched } from "./reducing.ts";
import { countLive, isLive, liveReplicas } from "./replicas.ts";
import { type MergeStep, type StageMerge, wordOf } from "./stage-merge.ts";
import { type PhaseOf, placeRef, type Replica, type RunState, stageName } from "./state.ts";
import type { Turn } from "./turn.ts";

export function beginMerging(
  turn: Turn,
  { listed, plannedTokens }: { readonly listed: readonly (readonly MinerId[])[]; readonly plannedTokens: number },
): void {
  const { definition, stages } = turn.state;
  // Who warmed up with the epoch's start takes the others' step from here on.
  allOutOfStep(turn);
  turn.enter({
    name: "merging",
    deadlineMs: turn.atMs + definition.timeouts.mergeMs,
    stages: stages.map(({ spec }) => beginStage(turn.state, spec.index, listed[spec.index] ?? [], plannedTokens)),
  });
  for (const { spec } of stages) askToReduce(turn, spec.index);
}

function beginStage(state: RunState, stage: number, listed: readonly MinerId[], plannedTokens: number): StageMerge {
  const replicas = state.replicas[stage] ?? [];
  const indexes = new Map(replicas.map(({ minerId }, index) => [minerId, index]));
  const contributors = contributorsOf(replicas, plannedTokens);
  const { compression } = state.definition.training;
  const count = partitionCount(listed.length, state.stages[stage]?.parameters ?? 0, compression.merge);
  const merge: StageMerge = {
    order: mergeOrder(placeRef(state, stage), listed).flatMap((minerId) => indexes.get(minerId) ?? []),
    contributors,
    partitions: Array.from({ length: count }, () => untouched),
    open: count,
    live: countLive(state, stage),
    outliers: [],
    step: { name: "reducing" },
  };
  return { ...merge, ...judgeAll(merge, merge.partitions.keys(), replicas) };
}

function contributorsOf(replicas: readonly Replica[], plannedTokens: number): StageMerge["contributors"] {
  const claims = replicas.flatMap(({ minerId, weight, contribution }) =>
    contribution === null ? [] : [{ ...contribution, minerId, weight }],
  );
  const counted = countedTokens(claims, plannedTokens);
  return claims
    .map(({ minerId, manifest }, index) => ({ minerId, manifest, tokens: counted[index] ?? 0 }))
    .filter(({ tokens }) => tokens > 0)
    .toSorted((a, b) => (a.minerId < b.minerId ? -1 : 1));
}

/** False when there was nothing in it that was waited for. */
export function recordReduced(
  turn: Turn,
  phase: PhaseOf<"merging">,
  stage: number,
  from: MinerId,
  { slices, outliers }: Extract<ClientMessage, { type: "reduced" }>,
): boolean {
  const merge = phase.stages[stage];
  const replicas = turn.state.replicas[stage] ?? [];
  const replica = replicas.findIndex(({ minerId }) => minerId === from);
  if (merge === undefined) return false;
  const partitions = [...merge.partitions];
  const reported = slices.flatMap(({ partition: number, hash, missing }) => {
    const partition = partitions[number];
    const isAsked = partition !== undefined && askedOf(partition, number, merge.order).includes(replica);
    if (!isAsked || partition.reports.some((report) => report.replica === replica)) return [];
    const report = { replica, hash, missing: hash === null ? [] : contributorsAmong(merge, missing) };
    partitions[number] = { ...partition, reports: [...partition.reports, report] };
    return [number];
  });
  if (reported.length === 0) return false;
  const judged = judgeAll({ ...merge, partitions }, reported, replicas);
  setStage(turn, stage, { ...merge, ...judged, outliers: nameOutliers(merge, from, outliers) });
  askToReduce(turn, stage, merge, reported);
  dropDissenters(turn, stage, reported);
  return true;
}

/** Of what a replica says: in order, once each, and only those that there are. */
function contributorsAmong({ contributors }: StageMerge, indexes: readonly number[]): readonly number[] {
  if (indexes.length === 0) return [];
  const named = new Set(indexes);
  return [...contributors.keys()].filter((index) => named.has(index));
}

function nameOutliers(merge: StageMerge, from: MinerId, named: readonly MinerId[]): StageMerge["outliers"] {
  if (named.length === 0) return merge.outliers;
  const before = new Map(merge.outliers.map(({ minerId, namedBy }) => [minerId, namedBy]));
  return merge.contributors.flatMap(({ minerId }) => {
    const namedBy = new Set([...(before.get(minerId) ?? []), ...(named.includes(minerId) ? [from] : [])]);
    return namedBy.size === 0 ? [] : [{ minerId, namedBy: [...namedBy] }];
  });
}

/** Who reported something else than two agree on is at fault: all can have the same slices, and average them in the same order. */
function dropDissenters(turn: Turn, stage: number, numbers: readonly number[]): void {
  const merge = mergeOf(turn.state, stage);
  const replicas = turn.state.replicas[stage] ?? [];
  const dissenters = new Set<MinerId>();
  for (const number of numbers) {
    const partition = merge?.partitions[number];
    if (partition === undefined || partition.open || partition.hash === null) continue;
    for (const report of partition.reports) {
      const reporter = replicas[report.replica];
      const dissents = report.hash !== null && wordOf(report) !== wordOf(partition);
      if (dissents && reporter?.part === "live") dissenters.add(reporter.minerId);
    }
  }
  for (const minerId of dissenters)
    turn.dropAsUnreliable(stage, minerId, "it averaged a partition to something else than two others did.");
}

/** Some replicas are gone: open partitions go to others, and so do decided ones that nobody can hand out any more. */
export function reviewStage(turn: Turn, stage: number): void {
  const merge = mergeOf(turn.state, stage);
  if (merge === undefined) return;
  const replicas = turn.state.replicas[stage] ?? [];
  const live = replicas.filter(isLive);
  const isWanted = merge.step.name === "applying" && live.some(({ merged }) => merged === null);
  const reopened = merge.partitions.map((partition) =>
    isWanted && partition.hash !== null && holdersOf(partition, replicas).length === 0
      ? { ...partition, open: true, hash: null, missing: [] }
      : partition,
  );
  const open = reopened.filter((partition) => partition.open).length;
  const judged = judgeAll({ ...merge, partitions: reopened, open }, reopened.keys(), replicas);
  const step: MergeStep = judged.open > 0 ? { name: "reducing" } : merge.step;
  setStage(turn, stage, { ...merge, ...judged, live: live.length, step });
  // Who averaged one of the reopened before, and was never heard, may have given it up when it was decided.
  const before = merge.partitions.map((partition, number) => (partition === reopened[number] ? partition : untouched));
  askToReduce(turn, stage, { ...merge, partitions: before });
  const changed = judged.partitions.some(({ hash }, number) => hash !== merge.partitions[number]?.hash);
  if (step.name === "applying" && changed) tellToApply(turn, stage);
}

/** Tells those who have partitions to average: everyone, or whom one of `numbers` was put to since `before`. */
function askToReduce(turn: Turn, stage: number, before?: StageMerge, numbers?: readonly number[]): void {
  const merge = mergeOf(turn.state, stage);
  if (merge === undefined || merge.open === 0) return;
  const newlyAsked = new Set(
    (numbers ?? [...merge.partitions.keys()]).flatMap((number) => {
      const partition = merge.partitions[number];
      if (partition === undefined || !partition.open) return [];
      return askedOf(partition, number, merge.order).slice(before?.partitions[number]?.asked ?? 0);
    }),
  );
  if (newlyAsked.size === 0) return;
  for (const [index, partitions] of partitionsToReduce(merge)) {
    const replica = turn.state.replicas[stage]?.[index];
    if (replica !== undefined && isLive(replica) && !replica.away && newlyAsked.has(index))
      turn.send(replica.minerId, reduceOf(turn.state, stage, merge, partitions));
  }
}

export function recordMerged(turn: Turn, stage: number, from: MinerId, weightsHash: BlobHash): boolean {
  const step = mergeOf(turn.state, stage)?.step.name ?? "reducing";
  const replica = turn.state.replicas[stage]?.find(({ minerId }) => minerId === from);
  if (step === "reducing" || replica === undefined || replica.merged !== null) return false;
  turn.changeReplica(stage, from, { merged: weightsHash });
  return true;
}

export function advanceMerging(state: RunState, phase: PhaseOf<"merging">): Next | null {
  for (const [stage, { step, live, open }] of phase.stages.entries()) {
    if (countLive(state, stage) < live) return { to: "review", stage };
    const next = advanceStage(state, stage, step, open);
    if (next !== null) return next;
  }
  return phase.stages.every(({ step }) => step.name === "agreed") ? { to: "conclude" } : null;
}

function advanceStage(state: RunState, stage: number, step: MergeStep, open: number): Next | null {
  const replicas = state.replicas[stage] ?? [];
  switch (step.name) {
    case "reducing":
      return open === 0 ? { to: "apply", stage } : null;
    case "applying": {
      if (replicas.some((replica) => isLive(replica) && replica.merged === null)) return null;
      const weightsHash = majority(liveReplicas(state, stage).flatMap(({ merged }) => merged ?? []));
      return weightsHash === undefined ? lost(state, stage) : { to: "agree", stage, weightsHash };
    }
    case "agreed": {
      const isHeld = liveReplicas(state, stage).some(({ merged }) => merged === step.weightsHash);
      return isHeld ? null : lost(state, stage);
    }
    default:
      return assertNever(step);
  }
}

function lost(state: RunState, stage: number): Next {
  return { to: "retry", why: `${stageName(state, stage)} lost its last replica before all stages were merged.` };
}

export function beginApplying(turn: Turn, stage: number): void {
  enterStep(turn, stage, { name: "applying" });
  tellToApply(turn, stage);
}

/** Those that warm up too. */
function tellToApply(turn: Turn, stage: number): void {
  const merge = mergeOf(turn.state, stage);
  if (merge === undefined) return;
  const message = applyMessage(turn.state, stage, merge);
  for (const { minerId, part, away, ready, merged } of turn.state.replicas[stage] ?? [])
    if (part !== "out" && !away && ready !== null && merged === null) turn.send(minerId, message);
}

/** All live replicas have answered: what most of them say stands. The others will have to load it. */
export function agree(turn: Turn, stage: number, weightsHash: BlobHash): void {
  const { members } = turn.state;
  enterStep(turn, stage, { name: "agreed", weightsHash });
  for (const { minerId, merged } of liveReplicas(turn.state, stage)) {
    if (merged === weightsHash) continue;
    const name = members.find((member) => member.minerId === minerId)?.name ?? minerId;
    turn.log("warning", `${name} merged to other weights than the rest of ${stageName(turn.state, stage)}.`);
  }
}

/** Replicas that have not done their part are out; the others get time to take over. */
export function expireMerging(turn: Turn, phase: PhaseOf<"merging">): void {
  turn.change({ phase: { ...phase, deadlineMs: turn.atMs + turn.state.definition.timeouts.mergeMs } });
  for (const [stage, merge] of phase.stages.entries()) {
    const { step } = merge;
    const late = new Set(step.name === "reducing" ? partitionsToReduce(merge).keys() : []);
    for (const [index, { minerId, part, merged }] of (turn.state.replicas[stage] ?? []).entries()) {
      if (part !== "live") continue;
      if (late.has(index)) turn.dropAsUnreliable(stage, minerId, "it did not average its partitions in time.");
      if (step.name === "applying" && merged === null)
        turn.dropAsUnreliable(stage, minerId, "it did not merge in time.");
    }
  }
}

/** The hash that most replicas have; the one listed first on ties. */
function majority(hashes: readonly BlobHash[]): BlobHash | undefined {
  const votes = Map.groupBy(hashes, (hash) => hash);
  const most = Math.max(...[...votes.values()].map((group) => group.length));
  return hashes.find((hash) => votes.get(hash)?.length === most);
}

/** Outliers that count: a single replica may be wrong about another. */
export function confirmedOutliers({ outliers, order }: StageMerge): readonly MinerId[] {
  const enough = Math.min(ownersPerPartition, order.length);
  return outliers.filter(({ namedBy }) => namedBy.length >= enough).map(({ minerId }) => minerId);
}

function mergeOf({ phase }: RunState, stage: number): StageMerge | undefined {
  return phase.name === "merging" ? phase.stages[stage] : undefined;
}

/** The next step gets the whole time again. */
function enterStep(turn: Turn, stage: number, step: MergeStep): void {
  const { phase, definition } = turn.state;
  const merge = mergeOf(turn.state, stage);
  if (phase.name !== "merging" || merge === undefined) return;
  const deadlineMs = turn.atMs + definition.timeouts.mergeMs;
  turn.change({ phase: { ...phase, deadlineMs, stages: phase.stages.with(stage, { ...merge, step }) } });
}

function setStage(turn: Turn, stage: number, merge: StageMerge): void {
  const { phase } = turn.state;
  if (phase.name === "merging") turn.change({ phase: { ...phase, stages: phase.stages.with(stage, merge) } });
}
