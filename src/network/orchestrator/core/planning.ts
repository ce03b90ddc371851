/**
 * What the run's compression costs, and what would be better: looked at again at each epoch's end, since links are measured while it
 * trains. A run that was created to adapt takes over which formats cross boundaries; what else is better is only said.
 */
import type { Plan } from "../../../protocol/plan-view.ts";
import type { BoundaryFormats } from "../../../protocol/run-config.ts";
import { type PlanRequest, planAsConfigured, planRun } from "../../plan/plan.ts";
import type { RunDefinition } from "./definition.ts";
import { typicalRate } from "./speed.ts";
import type { Member, RunState } from "./state.ts";
import type { Turn } from "./turn.ts";

export interface RunPlan {
  readonly current: Plan;
  readonly recommended: Plan;
  /** When something better was last pointed out; null: never. */
  readonly saidAtMs: number | null;
}

const recommendationIntervalMs = 24 * 3_600_000;

export function planFor(
  definition: RunDefinition,
  members: readonly Member[],
): Pick<RunPlan, "current" | "recommended"> {
  const request = requestFor(definition, members);
  return { current: planAsConfigured(request), recommended: planRun(request) };
}

export function reviewPlan(turn: Turn): void {
  const { definition, members, plan: before } = turn.state;
  const plan = planFor(definition, members);
  const isKnown = members.some(({ link }) => link !== null);
  const isTime = before.saidAtMs === null || turn.atMs - before.saidAtMs >= recommendationIntervalMs;
  const better = isKnown && isTime ? betterChoices(definition, plan.recommended) : [];
  turn.change({ plan: { ...plan, saidAtMs: better.length > 0 ? turn.atMs : before.saidAtMs } });
  if (better.length > 0)
    turn.log(
      "info",
      `On these links a run would do better with ${better.join(", ")}. tah run plan says what that costs.`,
    );
}

/** What boundaries are crossed in while nothing is alarming. */
export function wantedFormats({ definition, plan }: RunState): BoundaryFormats {
  return definition.adaptsCompression
    ? plan.recommended.compression.boundary
    : definition.training.compression.boundary;
}

/** Of what cannot change while a run lasts. */
function betterChoices({ training }: RunDefinition, { compression, stepsPerEpoch }: Plan): readonly string[] {
  const differs = (a: unknown, b: unknown) => JSON.stringify(a) !== JSON.stringify(b);
  const { exchange, merge } = training.compression;
  return [
    ...(differs(compression.exchange, exchange)
      ? [compression.exchange === null ? "no exchange of steps" : "another exchange of steps"]
      : []),
    ...(differs(compression.merge, merge) ? ["another codec of merges"] : []),
    ...(stepsPerEpoch === training.stepsPerEpoch ? [] : [`${stepsPerEpoch} steps per epoch`]),
  ];
}

/** For the slowest link of all that are known: every replica has its share of the work. */
function requestFor(
  { model, training, stages, minimumReplicas }: RunDefinition,
  members: readonly Member[],
): PlanRequest {
  const least = (rates: readonly (number | null)[]) => {
    const known = rates.filter((rate) => rate !== null);
    return known.length === 0 ? null : Math.min(...known);
  };
  const roundTrips = members.flatMap(({ link }) => link?.roundTripMs ?? []);
  const link = {
    upBytesPerSecond: least(members.map((member) => member.link?.upBytesPerSecond ?? null)),
    downBytesPerSecond: least(members.map((member) => member.link?.downBytesPerSecond ?? null)),
    roundTripMs: roundTrips.length === 0 ? null : Math.max(...roundTrips),
  };
  const rates = members.map(({ measuredRate, probedRate }) => measuredRate ?? probedRate);
  const replicas = Math.max(minimumReplicas, Math.floor(members.length / stages));
  return { model, training, stages, replicas, blockTokensPerSecond: typicalRate(rates) || null, link, isNew: false };
}
