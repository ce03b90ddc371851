/** Who can be reached at which stage during one epoch, and the path that a source's microbatches take. */
import { EventEmitter, once } from "node:events";
import type { MinerId } from "../../protocol/ids.ts";
import type { Roster } from "../../protocol/messages.ts";

export class Routes {
  /** As the epoch began: numbers the sources, and says who may appear in a path. */
  readonly #first: Roster;
  readonly #self: MinerId;
  readonly #changes = new EventEmitter();
  /** Peers that turned out to be gone before a newer roster said so. */
  readonly #lost = new Set<MinerId>();
  #roster: Roster;

  constructor(roster: Roster, self: MinerId) {
    this.#first = roster;
    this.#roster = roster;
    this.#self = self;
    this.#changes.setMaxListeners(0);
  }

  get sourceCount(): number {
    return this.#first.stages[0]?.length ?? 0;
  }

  /** The source's number, or −1. */
  sourceIndex(miner: MinerId | undefined): number {
    return miner === undefined ? -1 : (this.#first.stages[0]?.indexOf(miner) ?? -1);
  }

  /** Whether the path names one replica of every stage of this epoch. */
  isPath(path: readonly MinerId[]): boolean {
    const { stages } = this.#first;
    return path.length === stages.length && path.every((miner, stage) => stages[stage]?.includes(miner));
  }

  isLive(miner: MinerId): boolean {
    return !this.#lost.has(miner) && this.#roster.stages.some((replicas) => replicas.includes(miner));
  }

  /** Takes a newer roster; an older one is ignored. */
  update(roster: Roster): void {
    if (roster.version <= this.#roster.version) return;
    this.#roster = roster;
    this.#lost.clear();
    this.#changes.emit("change");
  }

  peerLost(peer: MinerId): void {
    this.#lost.add(peer);
    this.#changes.emit("change");
  }

  onChange(listener: () => void): void {
    this.#changes.on("change", listener);
  }

  /**
   * The path of this source's microbatch, or null while a stage has nobody. Microbatch i goes to replica i modulo their number,
   * so that all have the same share however many sources there are; a lost one's share goes to the others.
   */
  path(microbatch: number): MinerId[] | null {
    const path = [this.#self];
    for (let stage = 1; stage < this.#first.stages.length; stage++) {
      const replicas = this.#first.stages[stage] ?? [];
      const live = replicas.filter((miner) => this.isLive(miner));
      const due = replicas[microbatch % replicas.length];
      const chosen = due !== undefined && live.includes(due) ? due : live[microbatch % live.length];
      if (chosen === undefined) return null;
      path.push(chosen);
    }
    return path;
  }

  /** Waits until every stage has somebody. Rejects when `signal` is aborted. */
  async wholePath(microbatch: number, signal: AbortSignal): Promise<MinerId[]> {
    for (;;) {
      signal.throwIfAborted();
      const path = this.path(microbatch);
      if (path !== null) return path;
      await once(this.#changes, "change", { signal });
    }
  }
}
