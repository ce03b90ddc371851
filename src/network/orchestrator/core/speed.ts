/**
 * How fast members are, relative to each other: all that placement and shares of work need to know. Single measurements scatter, most
 * of all on a computer that its owner uses meanwhile, and whoever moves to another stage warms up for an epoch: so a member's speed
 * changes only when what was measured over some epochs is clearly different.
 */
import type { MinerId } from "../../../protocol/ids.ts";
import type { Member } from "./state.ts";

/** Of a new measurement, so much counts, on a logarithmic scale: a tenth and ten times the speed are equally far away. */
const measurementShare = 0.25;
/** Speeds that differ by less count as equal. */
const clearlyDifferent = 1.5;

/** The median; null of none. */
export function typicalRate(rates: readonly (number | null)[]): number | null {
  const known = rates.filter((rate) => rate !== null).sort((a, b) => a - b);
  return known[Math.floor(known.length / 2)] ?? null;
}

/** What a newcomer is taken for: what its device's probe said in comparison with the others'. */
export function speedOfNewcomer(members: readonly Member[], probedRate: number | null): number {
  const typical = typicalRate(members.map((member) => member.probedRate));
  return probedRate === null || typical === null || typical === 0 ? 1 : settled(1, probedRate / typical);
}

/** The members after an epoch in which those in `rates` were measured, in tokens per second through one block. */
export function measuredMembers(members: readonly Member[], rates: ReadonlyMap<MinerId, number>): readonly Member[] {
  const typicalNow = typicalRate([...rates.values()]) ?? 1;
  const measured = members.map((member) => {
    const rate = rates.get(member.minerId);
    if (rate === undefined) return member;
    const before = member.measuredRate ?? member.speed * typicalNow;
    return { ...member, measuredRate: before * (rate / before) ** measurementShare };
  });
  const typical = typicalRate(measured.map(({ measuredRate }) => measuredRate)) ?? 1;
  return measured.map((member) => {
    const { minerId, speed, measuredRate } = member;
    return measuredRate === null || !rates.has(minerId)
      ? member
      : { ...member, speed: settled(speed, measuredRate / typical) };
  });
}

function settled(before: number, now: number): number {
  return Math.max(now / before, before / now) < clearlyDifferent ? before : now;
}
