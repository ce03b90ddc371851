/**
 * What must hold of a run whatever happened to it, found by replaying its event log. Each rule looks at what the miners said and
 * what followed from it, not at what the orchestrator thinks of itself. That the log leads to its snapshots, and that the books
 * balance, is found by `tah network audit`.
 */

import { apply } from "../../../src/network/orchestrator/core/apply.ts";
import type { Effect, RunEvent } from "../../../src/network/orchestrator/core/event.ts";
import type { RunState } from "../../../src/network/orchestrator/core/state.ts";
import type { BlobHash, MinerId } from "../../../src/protocol/ids.ts";
import type { Receipt } from "../../../src/protocol/messages.ts";

/** What an orchestrator has written about one run. */
export interface Books {
  /** The oldest snapshot. */
  readonly first: RunState;
  /** All that happened since. */
  readonly events: readonly RunEvent[];
  readonly receipts: readonly Receipt[];
}

/** One event, and what came of it. */
interface Moment {
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
export function brokenInvariants(books: Books, moments: readonly Moment[] = replay(books)): readonly string[] {
  return [
    ...creditsThatFell(moments),
    ...gapsBetweenEpochs(moments),
    ...unequalMerges(moments),
    ...replicasApart(moments),
    ...lossThatDidNotFall(moments.at(-1)?.after ?? books.first),
  ];
}

function creditsThatFell(moments: readonly Moment[]): readonly string[] {
  return moments.flatMap(({ before, after }) =>
    (Object.entries(before.credits) as [MinerId, number][])
      .filter(([minerId, microCredits]) => (after.credits[minerId] ?? 0) < microCredits)
      .map(([minerId]) => `credits of ${minerId} fell in epoch ${before.epoch}`),
  );
}

function gapsBetweenEpochs(moments: readonly Moment[]): readonly string[] {
  return moments.flatMap(({ before, after }) => {
    const went = after.epoch - before.epoch;
    if (went === 0 && after.tokens === before.tokens) return [];
    if (went === 1 && after.tokens > before.tokens && after.epochs.at(-1)?.epoch === before.epoch) return [];
    return [`after epoch ${before.epoch} came epoch ${after.epoch}, with ${after.tokens - before.tokens} tokens`];
  });
}

/** Honest replicas that merge the same contributions get the same bits. */
function unequalMerges(moments: readonly Moment[]): readonly string[] {
  const hashes = new Map<string, BlobHash>();
  return moments.flatMap(({ event }) => {
    if (event.type !== "message" || event.message.type !== "merged") return [];
    const { at, weightsHash } = event.message;
    const place = `epoch ${at.epoch}, attempt ${at.attempt}, stage ${at.stage}`;
    const known = hashes.get(place) ?? weightsHash;
    hashes.set(place, known);
    return known === weightsHash ? [] : [`${place}: merged into unequal weights`];
  });
}

/** Whoever begins an epoch begins it from the bits of the last merge. */
function replicasApart(moments: readonly Moment[]): readonly string[] {
  return moments.flatMap(({ event, before }) => {
    if (event.type !== "message" || event.message.type !== "ready" || before.checkpoint === null) return [];
    const { at, weightsHash } = event.message;
    if (at.epoch !== before.epoch) return [];
    const merged = before.checkpoint.stages[at.stage]?.weights.hash;
    return merged === weightsHash ? [] : [`epoch ${at.epoch}, stage ${at.stage}: a replica began from other weights`];
  });
}

/** On text that nobody trains on, as far as that was measured more than once. */
function lossThatDidNotFall({ evaluations, epochs }: RunState): readonly string[] {
  const validation = evaluations.map(({ validationLossNats }) => validationLossNats);
  const training = epochs.flatMap(({ trainLossNats }) => trainLossNats ?? []);
  const [first = Number.NaN, ...later] = validation.length > 1 ? validation : training;
  const last = later.at(-1);
  return last === undefined || last < first ? [] : [`the loss did not fall: ${first} to ${last} nats`];
}
