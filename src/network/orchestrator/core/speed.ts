/**
 * How fast members are, relative to each other: all that placement and shares of work need to know. Measurements scatter, most of all
 * on a computer that its owner uses meanwhile. So a speed changes only when what was measured over some epochs is clearly different;
 * and the one that places members, of whom each that moves warms up for an epoch, only when it is very different.
 */
import type { MinerId } from "../../../protocol/ids.ts";
import type { LinkReport } from "../../../protocol/link-report.ts";
import type { Member } from "./state.ts";

/** Of a new measurement, so much counts, on a logarithmic scale: a tenth and ten times the speed are equally far away. */
const measurementShare = 0.25;
/** Speeds that differ by a smaller factor count as equal. */
const clearly = 1.5;
const greatly = 3;

/** The median; null of none. */
export function typicalRate(rates: readonly (number | null)[]): number | null {
  // As a typed array, for it is asked at each arrival in a large swarm, and numbers sort several times as fast there.
  const known = Float64Array.from(rates.filter((rate) => rate !== null)).sort();
  return known[Math.floor(known.length / 2)] ?? null;
}

/** What a newcomer is taken for: what its device's probe said in comparison with the others'. */
export function speedOfNewcomer(members: readonly Member[], probedRate: number | null): number {
  const typical = typicalRate(members.map((member) => member.probedRate));
  return probedRate === null || typical === null || typical === 0 ? 1 : settled(1, probedRate / typical, clearly);
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
    const { minerId, speed, placedSpeed, measuredRate } = member;
    if (measuredRate === null || !rates.has(minerId)) return member;
    const now = measuredRate / typical;
    return { ...member, speed: settled(speed, now, clearly), placedSpeed: settled(placedSpeed, now, greatly) };
  });
}

/**
 * Bytes per second of the direction that carries less; as before unless it is clearly different, and at first as the others' are: lines
 * of one kind are measured differently enough to make another placement seem faster. Null: neither direction is known.
 */
export function placedLink(
  members: readonly Member[],
  { placedLinkBytesPerSecond: before }: Member,
  { upBytesPerSecond, downBytesPerSecond }: LinkReport,
): number | null {
  const known = [upBytesPerSecond, downBytesPerSecond].filter((rate) => rate !== null);
  if (known.length === 0) return before;
  const now = Math.min(...known);
  const others = typicalRate(members.map((member) => member.placedLinkBytesPerSecond));
  return settled(before ?? others ?? now, now, clearly);
}

function settled(before: number, now: number, different: number): number {
  return Math.max(now / before, before / now) < different ? before : now;
}
