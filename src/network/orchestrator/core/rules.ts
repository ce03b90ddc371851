/** What holds of a run whatever happens to it: checked after every event by the tests, the benchmarks and the simulator. */
import { sameEpoch } from "../../../protocol/ids.ts";
import { ownersPerPartition } from "../../../protocol/partitions.ts";
import { isLive, replicaOf } from "./replicas.ts";
import { type PartitionMerge, wordOf } from "./stage-merge.ts";
import { isRecorded } from "./start.ts";
import { currentEpoch, epochRuns, type RunState } from "./state.ts";

/** The rules that an event broke, by name. */
export function brokenRules(before: RunState, state: RunState): readonly string[] {
  const { phase, checkpoint, start, upload, replicas, members, away, roster } = state;
  const memberIds = new Set(members.map(({ minerId }) => minerId));
  const awayIds = new Set(away.map(({ minerId }) => minerId));
  const taking = replicas.map((ofStage) => ofStage.filter(({ part }) => part !== "out"));
  const rules = {
    "a miner is a member once": memberIds.size === members.length,
    "only members are away, and once": awayIds.size === away.length && [...awayIds].every((one) => memberIds.has(one)),
    "a miner is a replica of a stage once": replicas.every(
      (ofStage) => new Set(ofStage.map(({ minerId }) => minerId)).size === ofStage.length,
    ),
    "only members take part, in the stages that they hold": taking.every((ofStage, stage) => {
      const holding = new Set(members.filter(({ stages }) => stages.includes(stage)).map(({ minerId }) => minerId));
      return ofStage.every(({ minerId }) => holding.has(minerId));
    }),
    "replicas are away with their miners": taking.flat().every((one) => one.away === awayIds.has(one.minerId)),
    "a miner's stages fit its memory": members.every(
      ({ stages, memoryLimitBytes }, index) =>
        before.members[index]?.memoryLimitBytes !== memoryLimitBytes ||
        stages.reduce((sum, stage) => sum + (state.needs[stage]?.memoryBytes ?? 0), 0) <= memoryLimitBytes,
    ),
    "nobody trains before it is ready":
      phase.name === "preparing" || taking.flat().every((one) => !isLive(one) || one.ready !== null),
    "between epochs nobody takes part, and nobody is on the roster":
      epochRuns(state) || (replicas.flat().length === 0 && roster.announced.stages.flat().length === 0),
    "work goes on only where every stage has somebody":
      !epochRuns(state) || taking.every((ofStage) => ofStage.length > 0),
    "a phase that waits for answers ends by itself": !epochRuns(state) || phase.deadlineMs !== null,
    "a partition is decided by two equal reports, or by one where nobody else can be asked":
      phase.name !== "merging" ||
      phase.stages.every(({ partitions, order }) => partitions.every((partition) => isSound(partition, order.length))),
    "tokens never fall, but to the last checkpoint's":
      state.tokens >= before.tokens || state.tokens === (checkpoint?.tokens ?? 0),
    "credits and lost partitions never fall":
      creditsGrow(before, state) && state.partitionsLost >= before.partitionsLost,
    "epochs never go back": state.epoch >= before.epoch,
    "rosters are numbered upwards": roster.announced.version >= before.roster.announced.version,
    "the last epoch is on record": (state.epochs.at(-1)?.epoch ?? -1) === state.epoch - 1,
    "the epoch starts from the state that was merged last":
      start === null ? state.tokens === 0 : start.epoch === state.epoch && start.tokens === state.tokens,
    "a starting state has all stages": start === null || start.stages.length === state.stages.length,
    "who holds or keeps a starting state is a member":
      start?.stages.every(
        ({ inStep, keeper }) =>
          inStep.every((one) => memberIds.has(one)) && (keeper === null || memberIds.has(keeper.minerId)),
      ) ?? true,
    "nobody is in step who trains on":
      (phase.name !== "training" && phase.name !== "uploading") ||
      (start?.stages.every(({ inStep }, stage) => {
        const live = new Set(replicas[stage]?.filter(isLive).map(({ minerId }) => minerId));
        return inStep.every((one) => !live.has(one));
      }) ??
        true),
    "what is uploaded is later than the checkpoint, and no later than the epoch's start":
      upload === null || (upload.epoch > (checkpoint?.epoch ?? 0) && upload.epoch <= (start?.epoch ?? -1)),
    "the checkpoint has all stages": checkpoint === null || checkpoint.stages.length === state.stages.length,
    "a run rests only when all that it merged is stored, and credited":
      (phase.name !== "paused" && phase.name !== "finished") || (isRecorded(state) && state.uncredited.length === 0),
    "who was convicted takes no part": replicas.flat().every((one) => !one.convicted || one.part === "out"),
    "nobody is acquitted during an attempt":
      !sameEpoch(currentEpoch(before), currentEpoch(state)) ||
      before.replicas.every((ofStage, stage) =>
        ofStage.every(({ convicted, minerId }) => !convicted || replicaOf(state, stage, minerId)?.convicted !== false),
      ),
    "credits wait for a checkpoint, and for nothing else": state.uncredited.every(
      ({ at }) => at.epoch >= (checkpoint?.epoch ?? 0) && at.epoch < state.epoch,
    ),
  };
  return Object.entries(rules).flatMap(([rule, holds]) => (holds ? [] : [rule]));
}

function isSound(partition: PartitionMerge, listed: number): boolean {
  const { open, hash, reports, asked } = partition;
  if (open || hash === null) return true;
  const word = wordOf(partition);
  const votes = reports.filter((report) => wordOf(report) === word).length;
  const isAlone = asked === listed && reports.every((one) => one.hash === null || wordOf(one) === word);
  return votes >= ownersPerPartition || (votes === 1 && isAlone);
}

function creditsGrow(before: RunState, state: RunState): boolean {
  if (before.credits === state.credits) return true;
  const credits = new Map(Object.entries(state.credits));
  return Object.entries(before.credits).every(([minerId, earned]) => (credits.get(minerId) ?? 0) >= earned);
}
