/** Which of an epoch's replicas can be reached, as the newest roster and the link say. */
import type { MinerId } from "../../protocol/ids.ts";
import type { Roster, RosterReplica } from "../../protocol/roster.ts";
import { type SourceShare, sourceShares } from "../../protocol/source-shares.ts";
import type { Clock } from "../session/clock.ts";

/**
 * After a lost session the others come back one after the other, if it was the network that was gone. For so long nobody is given
 * up who was there before.
 */
const returnMs = 5000;

/**
 * `live`: can be sent to. `away`: nobody can say at the moment, since the link is down or has only just come back; what is under
 * way waits. `gone`: what it had is to be sent to another one.
 */
export type Standing = "live" | "away" | "gone";

export class Routes {
  readonly #self: MinerId;
  readonly #clock: Clock;
  readonly #listeners: (() => void)[] = [];
  readonly #shares: ReadonlyMap<MinerId, SourceShare>;
  /** Every place that a roster of this epoch named, living or not. */
  readonly #known = new Set<string>();
  /** Places that turned out to be gone before a newer roster said so. */
  readonly #lost = new Set<string>();
  /** Places that were live before the session was lost, and have not been seen since. */
  #awaited = new Set<string>();
  #roster: Roster;
  #session: "lost" | "unlisted" | "listed" = "listed";
  #sessions = 0;
  #stopAwaiting = () => {};

  constructor(roster: Roster, self: MinerId, microbatchesPerStep: number, clock: Clock) {
    this.#self = self;
    this.#clock = clock;
    this.#roster = roster;
    const shares = sourceShares(roster.sources, microbatchesPerStep);
    this.#shares = new Map(roster.sources.flatMap(({ minerId }, index) => pair(minerId, shares[index])));
    this.#learn(roster);
  }

  /** The first stage's replicas as the epoch began. */
  get sources(): readonly MinerId[] {
    return [...this.#shares.keys()];
  }

  /** The source's microbatches in every step; undefined for whoever is none. */
  shareOf(source: MinerId | undefined): SourceShare | undefined {
    return source === undefined ? undefined : this.#shares.get(source);
  }

  /** Grows with each session that lists this miner: what was sent in an earlier one may be lost. */
  get session(): number {
    return this.#sessions;
  }

  get isConnected(): boolean {
    return this.#session === "listed";
  }

  /** Whether the miner belongs to the stage in this epoch, living or not. */
  belongs(miner: MinerId, stage: number): boolean {
    return this.#known.has(keyOf(miner, stage));
  }

  live(stage: number): readonly RosterReplica[] {
    return (this.#roster.stages[stage] ?? []).filter(({ minerId }) => this.standing(minerId, stage) === "live");
  }

  /** The replica's share of its stage's work, relative to the others'; the least that there is for who is not on the roster any more. */
  weightOf(miner: MinerId, stage: number): number {
    return this.#roster.stages[stage]?.find(({ minerId }) => minerId === miner)?.weight ?? 1;
  }

  /** Those who are live, or may be so again at once. */
  expected(stage: number): readonly MinerId[] {
    const listed = (this.#roster.stages[stage] ?? []).map(({ minerId }) => minerId);
    return listed.filter((miner) => this.standing(miner, stage) !== "gone");
  }

  standing(miner: MinerId, stage: number): Standing {
    const place = keyOf(miner, stage);
    const isListed = this.#roster.stages[stage]?.some(({ minerId }) => minerId === miner) ?? false;
    if (isListed && !this.#lost.has(place)) return this.isConnected || miner === this.#self ? "live" : "away";
    return this.#awaited.has(place) ? "away" : "gone";
  }

  /** Takes a newer roster; an older one is ignored. */
  update(roster: Roster): void {
    if (roster.version < this.#roster.version) return;
    if (roster.version > this.#roster.version) this.#lost.clear();
    this.#roster = roster;
    this.#learn(roster);
    if (this.#session === "unlisted" && isIn(roster, this.#self)) this.#listed();
    this.#changed();
  }

  disconnected(): void {
    if (this.#session === "listed")
      for (const [stage, replicas] of this.#roster.stages.entries())
        for (const { minerId } of replicas)
          if (this.standing(minerId, stage) === "live") this.#awaited.add(keyOf(minerId, stage));
    this.#session = "lost";
    this.#stopAwaiting();
    this.#changed();
  }

  /** A session was opened; nobody can be reached before the network lists this miner again. */
  connected(): void {
    this.#session = "unlisted";
  }

  /** Says that messages to this peer do not arrive. */
  peerLost(peer: MinerId): void {
    if (!this.isConnected || peer === this.#self) return;
    for (const stage of this.#roster.stages.keys()) this.#lost.add(keyOf(peer, stage));
    this.#changed();
  }

  /** The miner says itself that it does not hold this place. */
  placeLost(peer: MinerId, stage: number): void {
    this.#lost.add(keyOf(peer, stage));
    this.#changed();
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /** Ends what would happen by itself. */
  close(): void {
    this.#stopAwaiting();
  }

  #listed(): void {
    this.#session = "listed";
    this.#sessions += 1;
    this.#stopAwaiting();
    this.#stopAwaiting = this.#clock.after(returnMs, () => {
      this.#awaited = new Set();
      this.#changed();
    });
  }

  #learn(roster: Roster): void {
    for (const [stage, replicas] of [...roster.stages.entries(), [0, roster.sources] as const])
      for (const { minerId } of replicas) this.#known.add(keyOf(minerId, stage));
    if (this.#session === "lost") return;
    for (const [stage, replicas] of roster.stages.entries())
      for (const { minerId } of replicas) this.#awaited.delete(keyOf(minerId, stage));
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}

function keyOf(miner: MinerId, stage: number): string {
  return `${stage} ${miner}`;
}

function isIn({ stages }: Roster, miner: MinerId): boolean {
  return stages.some((replicas) => replicas.some(({ minerId }) => minerId === miner));
}

function pair<T>(miner: MinerId, value: T | undefined): [MinerId, T][] {
  return value === undefined ? [] : [[miner, value]];
}
