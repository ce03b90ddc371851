/** One attempt at an epoch's training, between `start` and `upload`: gives the replica its role and feeds it its messages. */
import { failureOf } from "../../protocol/failure.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { Roster } from "../../protocol/messages.ts";
import type { PeerMessage } from "../../transport/peer-link.ts";
import type { Trained } from "../merge/merge-acts.ts";
import { Epoch, type EpochOptions, type Role, type Tally } from "./epoch.ts";
import { checkInbound } from "./inbound.ts";
import { Last } from "./last.ts";
import { Middle } from "./middle.ts";
import { holdsFirstStage, holdsLastStage, type Place } from "./place.ts";
import { Source } from "./source.ts";

export class Training {
  readonly #epoch: Epoch;
  readonly #role: Role;

  constructor(options: EpochOptions) {
    this.#epoch = new Epoch(options);
    this.#role = roleIn(options.place, this.#epoch);
  }

  get tally(): Readonly<Tally> {
    return this.#epoch.tally;
  }

  /** Of the epoch so far. A step that was skipped makes fewer tokens count than were seen: their mean loss is the best that can be said. */
  get trained(): Trained {
    const { place, compute } = this.#epoch.options;
    const { lossSumNats, tokensBackward } = this.#epoch.tally;
    const meanLossNats = holdsLastStage(place) && tokensBackward > 0 ? lossSumNats / tokensBackward : null;
    return { meanLossNats, computeMs: Math.round(compute.busyMs) };
  }

  /** Settles when this replica has begun all that it has to begin: a source's steps are done then. */
  run(): Promise<void> {
    return this.#role.run();
  }

  update(roster: Roster): void {
    this.#epoch.options.routes.update(roster);
  }

  peerLost(peer: MinerId): void {
    this.#epoch.options.routes.peerLost(peer);
  }

  /** Takes whatever another miner sent; what is not in order is dropped. */
  receive(message: PeerMessage): void {
    const { place, self, routes, dropped } = this.#epoch.options;
    try {
      this.#role.receive(message.from, message.kind, checkInbound(message, place, self, routes));
    } catch (error) {
      const failure = failureOf(error);
      if (failure === undefined) throw error;
      if (failure.code !== "stale-epoch") dropped(message.from, failure.message);
    }
  }
}

function roleIn(place: Place, epoch: Epoch): Role {
  if (holdsFirstStage(place)) return new Source(epoch);
  return holdsLastStage(place) ? new Last(epoch) : new Middle(epoch);
}
