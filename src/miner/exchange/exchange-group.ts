/**
 * Which replicas of a stage exchange with each other at a step.
 *
 * Up to four: everybody with everybody, so that each sends (g − 1) · payload bytes in a step and receives as many, g being the group's
 * size: 3 × 0.25 bytes per parameter among four in 2 bits. A ring or a butterfly would send less among many, but compresses sums over
 * and over and takes a round trip for each turn. More are drawn into groups of at most four, anew at every step, which costs each the
 * same however many they are. What groups do not share within an epoch, its merge does.
 */
import { largestExchangeGroup } from "../../protocol/exchange-messages.ts";
import { hashBytes } from "../../protocol/identity.ts";
import type { MinerId, PlaceRef } from "../../protocol/ids.ts";

/** The others of this replica's group. `members`: the stage's replicas, in any order; those of one mind come to the same groups. */
export function exchangeGroup(
  { runId, epoch, attempt, stage }: PlaceRef,
  step: number,
  self: MinerId,
  members: readonly MinerId[],
): readonly MinerId[] {
  const everybody = [...new Set([self, ...members])];
  const groups = Math.ceil(everybody.length / largestExchangeGroup);
  const group =
    groups === 1 ? everybody : drawn(`${runId}:${epoch}:${attempt}:${stage}:${step}`, everybody, groups, self);
  return group.filter((miner) => miner !== self).toSorted();
}

/** The group of `self`, of so many that are as large as each other as far as can be. */
function drawn(draw: string, everybody: readonly MinerId[], groups: number, self: MinerId): readonly MinerId[] {
  const shuffled = everybody
    .map((miner) => ({ miner, key: hashBytes(Buffer.from(`${draw}:${miner}`)) }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ miner }) => miner);
  const own = shuffled.indexOf(self) % groups;
  return shuffled.filter((_, index) => index % groups === own);
}
