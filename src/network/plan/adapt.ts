/** Whether a run had better go on otherwise, in what it can change from one epoch to the next: a pure function, with hysteresis. */
import type { BoundaryFormats } from "../../protocol/run-config.ts";
import { type Costing, worthOf } from "./costing.ts";
import { bestCosting, compareMildness, leastGain, type PlanRequest } from "./plan.ts";

export interface Adaptation {
  readonly boundary: BoundaryFormats;
  readonly stepsPerEpoch: number;
}

/** What is milder is taken up only where it would still do on a link that is so many times slower: measurements scatter. */
const margin = 1.5;

/** Null: it goes on as it does. `request`: all that cannot change is decided, the rest is not. */
export function betterAdaptation(request: PlanRequest, now: Adaptation): Adaptation | null {
  const { boundary, stepsPerEpoch } = now;
  const asIs = bestCosting({ ...request, decided: { ...request.decided, ...boundary, stepsPerEpoch } });
  const better = asIs.fits ? milderThan(asIs, request) : worthMoreThan(asIs, bestCosting(request));
  return better && { boundary: better.choice.boundary.formats, stepsPerEpoch: better.choice.stepsPerEpoch };
}

function milderThan(asIs: Costing, request: PlanRequest): Costing | null {
  const { link } = request;
  const slower = (rate: number | null) => rate && rate / margin;
  const upBytesPerSecond = slower(link.upBytesPerSecond);
  const downBytesPerSecond = slower(link.downBytesPerSecond);
  const careful = bestCosting({ ...request, link: { ...link, upBytesPerSecond, downBytesPerSecond } });
  return careful.fits && compareMildness(careful, asIs) < 0 ? careful : null;
}

function worthMoreThan(asIs: Costing, other: Costing): Costing | null {
  return other.fits || worthOf(other) > worthOf(asIs) + leastGain ? other : null;
}
