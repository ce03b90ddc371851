/**
 * What the run's compression costs, and what would be better: looked at again at each epoch's end, since links are measured while it
 * trains. A run that was created to adapt changes what can change from one epoch to the next; what else is better is only said.
 */
import type { Plan } from "../../../protocol/plan-view.ts";
import type { BoundaryFormats, TrainingConfig } from "../../../protocol/run-config.ts";
import { type Adaptation, betterAdaptation } from "../../plan/adapt.ts";
import { configured, type PlanRequest, planAsConfigured, planRun } from "../../plan/plan.ts";
import type { RunDefinition } from "./definition.ts";
import { typicalRate } from "./speed.ts";
import type { Member, RunState } from "./state.ts";
import type { Turn } from "./turn.ts";

export interface RunPlan {
  readonly current: Plan;
  /** For a run that would begin now with this model. */
  readonly recommended: Plan;
  /** When something better was last pointed out; null: never. */
  readonly saidAtMs: number | null;
  /** What the run does, where it may change. */
  readonly adapted: Adaptation;
  /** Merged epochs in a row after which something else would have been better. */
  readonly unsuitedEpochs: number;
}

const recommendationIntervalMs = 24 * 3_600_000;
/** A link that was busy with something else for one epoch changes nothing. */
const epochsToAdapt = 2;

/** Of a run that nobody has joined yet. */
export function firstPlan(definition: RunDefinition): RunPlan {
  const { compression, stepsPerEpoch } = definition.training;
  const adapted = { boundary: compression.boundary, stepsPerEpoch };
  return { ...plansFor(definition, [], definition.training), saidAtMs: null, adapted, unsuitedEpochs: 0 };
}

/** How the current epoch is trained, or the next one where none is. */
export function epochTraining({ definition, plan }: Pick<RunState, "definition" | "plan">): TrainingConfig {
  return { ...definition.training, stepsPerEpoch: plan.adapted.stepsPerEpoch };
}

/** What boundaries are crossed in while nothing is alarming. */
export function wantedFormats({ plan }: RunState): BoundaryFormats {
  return plan.adapted.boundary;
}

/** An epoch is merged: the next one may be trained otherwise. */
export function adaptToLinks(turn: Turn): void {
  const { definition, members, plan } = turn.state;
  const { adapts = [] } = definition;
  if (adapts.length === 0) return;
  const { forward, backward, stepsPerEpoch, ...fixed } = configured(definition);
  const decided = {
    ...fixed,
    ...(!adapts.includes("boundary-formats") && { forward, backward }),
    ...(!adapts.includes("steps-per-epoch") && { stepsPerEpoch }),
  };
  const better = betterAdaptation({ ...requestFor(definition, members), decided }, plan.adapted);
  const unsuitedEpochs = better === null ? 0 : plan.unsuitedEpochs + 1;
  if (better === null || unsuitedEpochs < epochsToAdapt) turn.change({ plan: { ...plan, unsuitedEpochs } });
  else {
    turn.change({ plan: { ...plan, adapted: better, unsuitedEpochs: 0 } });
    if (better.stepsPerEpoch !== plan.adapted.stepsPerEpoch)
      turn.log("info", `Replicas merge every ${better.stepsPerEpoch} steps from now on, as suits their links.`);
  }
}

/** What is shown, and at times recommended. */
export function reviewPlan(turn: Turn): void {
  const { definition, members, plan, boundaryWatch } = turn.state;
  const training = epochTraining(turn.state);
  const compression = { ...training.compression, boundary: boundaryWatch.formats };
  const plans = plansFor(definition, members, { ...training, compression });
  const isKnown = members.some(({ link }) => link !== null);
  const isTime = plan.saidAtMs === null || turn.atMs - plan.saidAtMs >= recommendationIntervalMs;
  const better = isKnown && isTime ? betterChoices(plans) : [];
  turn.change({ plan: { ...plan, ...plans, saidAtMs: better.length > 0 ? turn.atMs : plan.saidAtMs } });
  if (better.length > 0)
    turn.log(
      "info",
      `On these links a run would do better with ${better.join(", ")}. tah run plan says what that costs.`,
    );
}

function plansFor(
  definition: RunDefinition,
  members: readonly Member[],
  training: TrainingConfig,
): Pick<RunPlan, "current" | "recommended"> {
  const request = requestFor(definition, members);
  return { current: planAsConfigured({ ...request, training }), recommended: planRun(request) };
}

/** Of what cannot change while a run lasts. */
function betterChoices({ current, recommended }: Pick<RunPlan, "current" | "recommended">): readonly string[] {
  const differs = (a: unknown, b: unknown) => JSON.stringify(a) !== JSON.stringify(b);
  const [now, then] = [current.compression, recommended.compression];
  return [
    ...(differs(now.exchange, then.exchange)
      ? [then.exchange === null ? "no exchange of steps" : "another exchange of steps"]
      : []),
    ...(differs(now.merge, then.merge) ? ["another codec of merges"] : []),
  ];
}

/**
 * For the slowest link of all who have a place and said so: every replica has its share of the work. The model stays as it is, and so do
 * the tokens per step, which its learning rate belongs to.
 */
function requestFor(definition: RunDefinition, members: readonly Member[]): PlanRequest {
  const { model, training, stages, minimumReplicas, targetTokens } = definition;
  const { bottleneckRank, batch } = configured(definition);
  const placed = members.filter((member) => member.stages.length > 0);
  const least = (figures: readonly (number | null | undefined)[]) => {
    const known = figures.filter((figure) => figure != null);
    return known.length === 0 ? null : known.reduce((a, b) => Math.min(a, b));
  };
  const roundTrips = placed.flatMap(({ link }) => link?.roundTripMs ?? []);
  return {
    model,
    training,
    stages,
    replicas: Math.max(minimumReplicas, Math.floor(members.length / stages)),
    blockTokensPerSecond: typicalRate(placed.map(({ measuredRate, probedRate }) => measuredRate ?? probedRate)) || null,
    link: {
      upBytesPerSecond: least(placed.map(({ link }) => link?.upBytesPerSecond)),
      downBytesPerSecond: least(placed.map(({ link }) => link?.downBytesPerSecond)),
      roundTripMs: roundTrips.length === 0 ? null : Math.max(...roundTrips),
    },
    tokenBudget: targetTokens,
    memoryLimitBytes: null,
    decided: { bottleneckRank, batch },
  };
}
