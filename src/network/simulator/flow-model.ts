/**
 * How fast microbatches get through the pipeline, as a fluid: each replica takes tokens at its rate at most, and the stage whose
 * replicas are slowest together decides. Sources have shares of their own to send, as `source-shares.ts` cuts them, and are done one
 * after the other. Single microbatches, their routes and what is sent again when a miner is lost are not followed: on the scale of
 * an epoch they are a few parts in a thousand.
 */
import type { MinerId } from "../../protocol/ids.ts";
import { EventQueue } from "./event-queue.ts";

export interface Source {
  readonly minerId: MinerId;
  /** That it has to send in this epoch. */
  readonly tokens: number;
}

interface Replica {
  /** In tokens per second. */
  rate: number;
  isRunning: boolean;
  /** Taken before `since`. */
  tokens: number;
  /** What one token per second would have taken by when it was last looked at. */
  since: number;
  /** Of a source: of its share, what is left at `since`. */
  left: number;
  /** Counts up with each change, so that what was planned before is known to be old. */
  version: number;
}

interface Stage {
  readonly replicas: Map<MinerId, Replica>;
  /** Of all that run. */
  rate: number;
  running: number;
  /** What one token per second has taken by now. */
  taken: number;
}

export class FlowModel {
  readonly #stages: readonly Stage[];
  readonly #finishing = new EventQueue<{ readonly minerId: MinerId; readonly version: number }>();
  /** Part of the time in which microbatches flow: between two steps the pipeline runs empty. */
  readonly #busyShare: number;
  #nowMs: number;

  /** `replicas`: by stage, everyone's rate in tokens per second. `flushSeconds`: how long the pipeline takes to fill and to empty. */
  constructor(
    replicas: readonly ReadonlyMap<MinerId, number>[],
    sources: readonly Source[],
    { atMs, steps, flushSeconds }: { readonly atMs: number; readonly steps: number; readonly flushSeconds: number },
  ) {
    this.#nowMs = atMs;
    const shares = new Map(sources.map(({ minerId, tokens }) => [minerId, tokens]));
    this.#stages = replicas.map((ofStage, index) => {
      const stage: Stage = { replicas: new Map(), rate: 0, running: 0, taken: 0 };
      for (const [minerId, rate] of ofStage) {
        const left = index === 0 ? (shares.get(minerId) ?? 0) : Number.POSITIVE_INFINITY;
        stage.replicas.set(minerId, { rate, isRunning: false, tokens: 0, since: 0, left, version: 0 });
      }
      return stage;
    });
    for (const [stage, { replicas: ofStage }] of this.#stages.entries())
      for (const minerId of ofStage.keys()) this.#start(stage, minerId);
    const total = sources.reduce((sum, { tokens }) => sum + tokens, 0);
    const stepSeconds = total / steps / this.#slowest();
    this.#busyShare = stepSeconds > 0 ? stepSeconds / (stepSeconds + flushSeconds) : 1;
  }

  /** When the next source is done, if nothing changes before; null: never. */
  nextDoneMs(): number | null {
    this.#forgetOld();
    const at = this.#finishing.nextMs;
    const [first] = this.#stages;
    const speed = this.#speedOf(first);
    if (at === null || first === undefined || speed === 0) return null;
    // The next whole millisecond: then it is done whatever was rounded.
    return Math.floor(this.#nowMs + (1000 * Math.max(0, at - first.taken)) / speed) + 1;
  }

  /** The source that is done by now, once; undefined: none. */
  takeDone(atMs: number): MinerId | undefined {
    this.#proceed(atMs);
    this.#forgetOld();
    const at = this.#finishing.nextMs;
    if (at === null || at > (this.#stages[0]?.taken ?? 0) * (1 + rounding)) return undefined;
    const minerId = this.#finishing.take()?.minerId;
    if (minerId !== undefined) this.#stop(0, minerId);
    return minerId;
  }

  /** That the replica has taken in this epoch. */
  tokensOf(stage: number, minerId: MinerId, atMs: number): number {
    this.#proceed(atMs);
    const of = this.#stages[stage];
    const replica = of?.replicas.get(minerId);
    if (of === undefined || replica === undefined) return 0;
    return replica.tokens + (replica.isRunning ? takenNow(of, replica) : 0);
  }

  /** The miner is gone, for now at least. */
  pause(minerId: MinerId, atMs: number): void {
    this.#proceed(atMs);
    for (const stage of this.#stages.keys()) this.#stop(stage, minerId);
  }

  /** The miner goes on where it was. */
  resume(minerId: MinerId, atMs: number): void {
    this.#proceed(atMs);
    for (const stage of this.#stages.keys()) this.#start(stage, minerId);
  }

  /** The miner is faster or slower from now on: so many tokens per second, at each of its stages. */
  setRate(minerId: MinerId, rate: number, atMs: number): void {
    this.#proceed(atMs);
    for (const [stage, { replicas }] of this.#stages.entries()) {
      const replica = replicas.get(minerId);
      if (replica === undefined) continue;
      const { isRunning } = replica;
      this.#stop(stage, minerId);
      replica.rate = rate;
      if (isRunning) this.#start(stage, minerId);
    }
  }

  #start(stage: number, minerId: MinerId): void {
    const of = this.#stages[stage];
    const replica = of?.replicas.get(minerId);
    if (of === undefined || replica === undefined || replica.isRunning || replica.left <= 0) return;
    replica.isRunning = true;
    replica.since = of.taken;
    of.rate += replica.rate;
    of.running++;
    const { version, left, rate } = replica;
    if (stage === 0) this.#finishing.plan(of.taken + left / rate, { minerId, version });
  }

  #stop(stage: number, minerId: MinerId): void {
    const of = this.#stages[stage];
    const replica = of?.replicas.get(minerId);
    if (of === undefined || !replica?.isRunning) return;
    const tokens = takenNow(of, replica);
    replica.isRunning = false;
    replica.tokens += tokens;
    replica.left = Math.max(0, replica.left - tokens);
    if (replica.left <= rounding * replica.tokens) replica.left = 0;
    replica.version++;
    of.running--;
    // Sums of thousands of rates, taken back one by one, leave a rest that is none.
    of.rate = of.running === 0 ? 0 : of.rate - replica.rate;
  }

  #forgetOld(): void {
    const isOld = () => {
      const next = this.#finishing.peek();
      const replica = next && this.#stages[0]?.replicas.get(next.minerId);
      return next !== undefined && (!replica?.isRunning || replica.version !== next.version);
    };
    while (isOld()) this.#finishing.take();
  }

  #proceed(atMs: number): void {
    const seconds = Math.max(0, atMs - this.#nowMs) / 1000;
    this.#nowMs = Math.max(this.#nowMs, atMs);
    const speeds = this.#stages.map((stage) => this.#speedOf(stage));
    for (const [index, stage] of this.#stages.entries()) stage.taken += seconds * (speeds[index] ?? 0);
  }

  /** Of its replicas' rates, which part is used. */
  #speedOf(stage: Stage | undefined): number {
    return stage === undefined || stage.rate === 0 ? 0 : (this.#busyShare * this.#slowest()) / stage.rate;
  }

  #slowest(): number {
    let least = Number.POSITIVE_INFINITY;
    for (const { rate } of this.#stages) least = Math.min(least, rate);
    return least;
  }
}

/** Since it was last looked at; a source takes no more than it has. */
function takenNow({ taken }: Stage, { since, rate, left }: Replica): number {
  return Math.min(left, (taken - since) * rate);
}

const rounding = 1e-9;
