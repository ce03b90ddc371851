/**
 * How many microbatches a source keeps under way: enough to hide the round trips, and no more than that, since what is sent too early
 * waits at the next stage, or is refused there and sent again.
 */

/** Half as much again as what the pipeline holds, since replicas are uneven and are chosen by chance. */
const headroom = 1.5;
/** Steps that say how things are now. Each begins with an empty pipeline, where the first microbatches wait for no others. */
const remembered = 4;
/** After a refusal, so much of what was under way … */
const retreat = 0.7;
/** … and one more for each so many that came back without one. */
const returnsPerAdvance = 4;

export interface PipelineMeasures {
  readonly stages: number;
  /** What there is room for here, and what a step has. */
  readonly most: number;
  /** Of the quickest microbatch of late: one that waited for no others. Null while nothing is known. */
  readonly roundTripMs: number | null;
  /** Microbatches that came back per millisecond, when most did. */
  readonly perMs: number;
}

/**
 * By Little's law (1961) a pipeline holds its rate × the round trip of what waits nowhere; more only queues. As in BBR (Cardwell 2016)
 * both are measured: while the pipeline has room for more, the rate grows with what is under way, and with it what is let under way.
 * At the least there is one for every stage, and one on its way.
 */
export function microbatchesUnderWay({ stages, most, roundTripMs, perMs }: PipelineMeasures): number {
  const held = roundTripMs === null ? 0 : Math.ceil(headroom * perMs * roundTripMs);
  return Math.min(most, Math.max(held, stages + 1));
}

/** A microbatch that is under way. */
export interface Departure {
  readonly atMs: number;
  /** How many had come back by then. */
  readonly returns: number;
}

export class Pace {
  readonly #stages: number;
  readonly #most: number;
  /** Of each step, the shortest round trip and the best rate. */
  readonly #steps: { roundTripMs: number | null; perMs: number }[] = [];
  #returns = 0;
  /** What refusals have left. */
  #ceiling: number;
  #returnsSinceRefusal = 0;

  constructor(stages: number, most: number) {
    this.#stages = stages;
    this.#most = most;
    this.#ceiling = most;
  }

  get mostUnderWay(): number {
    const roundTripsMs = this.#steps.flatMap(({ roundTripMs }) => roundTripMs ?? []);
    return microbatchesUnderWay({
      stages: this.#stages,
      most: this.#ceiling,
      roundTripMs: roundTripsMs.length === 0 ? null : Math.min(...roundTripsMs),
      perMs: Math.max(0, ...this.#steps.map(({ perMs }) => perMs)),
    });
  }

  stepBegan(): void {
    this.#steps.push({ roundTripMs: null, perMs: 0 });
    if (this.#steps.length > remembered) this.#steps.shift();
  }

  departed(nowMs: number): Departure {
    return { atMs: nowMs, returns: this.#returns };
  }

  returned({ atMs, returns }: Departure, nowMs: number): void {
    const roundTripMs = nowMs - atMs;
    this.#returns += 1;
    this.#returnsSinceRefusal += 1;
    if (this.#returnsSinceRefusal % returnsPerAdvance === 0) this.#ceiling = Math.min(this.#most, this.#ceiling + 1);
    const step = this.#steps.at(-1);
    // What took no time by the clock says nothing of the rate.
    if (step === undefined || roundTripMs <= 0) return;
    step.roundTripMs = Math.min(roundTripMs, step.roundTripMs ?? roundTripMs);
    step.perMs = Math.max(step.perMs, (this.#returns - returns) / roundTripMs);
  }

  /** A replica had no room for one; of all that are refused at once the first says it all. */
  refused(): void {
    if (this.#returnsSinceRefusal === 0) return;
    const fewest = Math.min(this.#most, this.#stages + 1);
    this.#ceiling = Math.max(fewest, Math.floor(retreat * this.mostUnderWay));
    this.#returnsSinceRefusal = 0;
  }
}
