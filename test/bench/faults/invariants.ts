/**
 * What must hold of a run whatever happened to it, found by replaying its event log. The core's own rules are checked after every
 * event; the others look at what the miners said and at what came of it. That the log leads to its snapshots, and that the
 * books balance, is found by `tah network audit`.
 */
import { apply } from "../../../src/network/orchestrator/core/apply.ts";
import type { Effect, MinerMessage, RunEvent } from "../../../src/network/orchestrator/core/event.ts";
import { brokenRules } from "../../../src/network/orchestrator/core/rules.ts";
import { placeRef, type RunState } from "../../../src/network/orchestrator/core/state.ts";
import { type BlobHash, type MinerId, type PlaceRef, samePlace } from "../../../src/protocol/ids.ts";
import { ownersPerPartition } from "../../../src/protocol/partitions.ts";
import type { Receipt } from "../../../src/protocol/receipt.ts";

/** What an orchestrator has written about one run. */
export interface Books {
  /** The oldest snapshot. */
  readonly first: RunState;
  /** All that happened since. */
  readonly events: readonly RunEvent[];
  readonly receipts: readonly Receipt[];
}

/** One event, and what came of it. */
export interface Moment {
  readonly event: RunEvent;
  readonly before: RunState;
  readonly after: RunState;
  readonly effects: readonly Effect[];
}

export function replay({ first, events }: Books): readonly Moment[] {
  let state = first;
  return events.map((event) => {
    const before = state;
    const { state: after, effects } = apply(before, event);
    state = after;
    return { event, before, after, effects };
  });
}

/** In words, with the place where each was found; empty when all hold. */
export function brokenInvariants(moments: readonly Moment[]): readonly string[] {
  return [
    ...rulesBroken(moments),
    ...partitionsOfUnequalHashes(moments),
    ...unequalMerges(moments),
    ...replicasApart(moments),
    ...lossThatDidNotFall(moments),
  ];
}

function rulesBroken(moments: readonly Moment[]): readonly string[] {
  const broken = moments.flatMap(({ before, after }) =>
    brokenRules(before, after).map((rule) => `epoch ${before.epoch}: it does not hold that ${rule}`),
  );
  return [...new Set(broken)];
}

/** A slice is merged that two replicas found equally, or that one found and nobody contradicts. */
function partitionsOfUnequalHashes(moments: readonly Moment[]): readonly string[] {
  const votes = new Map<string, Map<MinerId, BlobHash>>();
  const name = (at: PlaceRef, partition: number) => `${placeName(at)}, partition ${partition}`;
  return moments.flatMap((moment) => {
    for (const { from, message } of reports(moment, "reduced"))
      for (const { partition, hash } of message.slices) {
        const known = votes.get(name(message.at, partition)) ?? new Map<MinerId, BlobHash>();
        votes.set(name(message.at, partition), known);
        if (hash !== null && !known.has(from)) known.set(from, hash);
      }
    return slicesToApply(moment).flatMap(({ at, partition, hash }) => {
      const hashes = [...(votes.get(name(at, partition))?.values() ?? [])];
      const equal = hashes.filter((one) => one === hash).length;
      const isDecided = equal >= ownersPerPartition || (equal === 1 && hashes.length === 1);
      return isDecided ? [] : [`${name(at, partition)}: merged from unequal hashes`];
    });
  });
}

function slicesToApply({ effects }: Moment) {
  const orders = effects.flatMap((effect) =>
    effect.type === "send" && effect.message.type === "apply" ? [effect.message] : [],
  );
  return orders.flatMap(({ at, slices }) =>
    slices.flatMap((slice, partition) => (slice === null ? [] : [{ at, partition, hash: slice.hash }])),
  );
}

/** Honest replicas that apply the same slices get the same bits. */
function unequalMerges(moments: readonly Moment[]): readonly string[] {
  const merged = new Map<string, BlobHash>();
  return moments.flatMap((moment) =>
    reports(moment, "merged").flatMap(({ message: { at, weightsHash } }) => {
      const known = merged.get(placeName(at)) ?? weightsHash;
      merged.set(placeName(at), known);
      return known === weightsHash ? [] : [`${placeName(at)}: merged into unequal weights`];
    }),
  );
}

/** Whoever begins an epoch begins it from the bits of the last merge. */
function replicasApart(moments: readonly Moment[]): readonly string[] {
  return moments.flatMap((moment) =>
    reports(moment, "ready").flatMap(({ message: { at, weightsHash } }) => {
      const { before } = moment;
      // What comes late is about a state that is no longer known.
      if (before.start === null || !samePlace(at, placeRef(before, at.stage))) return [];
      const expected = before.start.stages[at.stage]?.weightsHash;
      return weightsHash === expected ? [] : [`${placeName(at)}: a replica began from other weights`];
    }),
  );
}

/** On text that nobody trains on, as far as that was measured more than once. */
function lossThatDidNotFall(moments: readonly Moment[]): readonly string[] {
  const { evaluations = [], epochs = [] } = moments.at(-1)?.after ?? {};
  const validation = evaluations.map(({ validationLossNats }) => validationLossNats);
  const training = epochs.flatMap(({ trainLossNats }) => trainLossNats ?? []);
  const [first = Number.NaN, ...later] = validation.length > 1 ? validation : training;
  const last = later.at(-1);
  return last === undefined || last < first ? [] : [`the loss did not fall: ${first} to ${last} nats`];
}

type Report<T extends MinerMessage["type"]> = Extract<MinerMessage, { readonly type: T }>;

/** What a miner said, if that was the event: one or none. */
function reports<T extends MinerMessage["type"]>(
  { event }: Moment,
  type: T,
): readonly { readonly from: MinerId; readonly message: Report<T> }[] {
  if (event.type !== "message" || event.message.type !== type) return [];
  return [{ from: event.from, message: event.message as Report<T> }];
}

function placeName({ epoch, attempt, stage }: PlaceRef): string {
  return `epoch ${epoch}, attempt ${attempt}, stage ${stage}`;
}
