/** What a run is expected to cost, before there is one: for people to decide by. */
import { presets } from "../compute/model/presets.ts";
import { unmeasuredLink } from "../protocol/link-report.ts";
import type { Plan } from "../protocol/plan-view.ts";
import { planRequest } from "./auto-compression.ts";
import { planAsConfigured, planRun } from "./plan/plan.ts";
import { type RunOptions, settleRun, trainingOf } from "./run-options.ts";

/** The plan that a new run of a preset would get on such links, if nothing else was asked for. */
export function planFor(
  options: Pick<RunOptions, "preset" | "stages" | "replicas" | "tokens">,
  link: Plan["link"],
): Plan {
  const { model, stages } = presets[options.preset];
  const run = { model, training: trainingOf(options), stages: Math.min(options.stages ?? stages, model.layers) };
  return planRun(planRequest(options, run, link, {}));
}

/**
 * What a run with these options comes to on homes' links. Null where it goes on with a model, which only the network can look at.
 * Throws `FailureError` (invalid-option) as creating it would.
 */
export function expectedPlan(options: RunOptions): Plan | null {
  if (options.from !== undefined) return null;
  const { plan, ...run } = settleRun(options, presets[options.preset].model);
  return plan ?? planAsConfigured(planRequest(options, run, unmeasuredLink, {}));
}
