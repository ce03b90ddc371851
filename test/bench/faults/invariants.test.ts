import { describe, expect, it } from "vitest";
import type { MinerMessage, RunEvent } from "../../../src/network/orchestrator/core/event.ts";
import { fakeHash } from "../../../src/network/orchestrator/core/fake-swarm.ts";
import { evaluated, fakeBooks } from "./fake-books.ts";
import { brokenInvariants, replay } from "./invariants.ts";

const forged = fakeHash("forged");

describe("the invariants of a run", () => {
  it("hold of an honest run that lost a miner", () => {
    expect(brokenInvariants(replay(fakeBooks()))).toEqual([]);
  });

  it("find credits that fell, and an epoch that was left out", () => {
    const moments = replay(fakeBooks());
    const last = moments.at(-1);
    if (last === undefined) throw new Error("no events");
    const wrong = { ...last, before: last.after, after: { ...last.after, credits: {}, epoch: last.after.epoch + 2 } };
    expect(brokenInvariants([...moments, wrong])).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^epoch 4: it does not hold that .*credits/),
        expect.stringMatching(/^epoch 4: it does not hold that .*on record/),
      ]),
    );
  });

  it("find a partition that was merged although its owners disagreed", () => {
    // The log of an orchestrator that did not care: the report is forged behind its back.
    const moments = replay(fakeBooks());
    const index = moments.findIndex(({ event }) => isReport(event, "reduced"));
    const moment = moments[index];
    if (moment === undefined) throw new Error("nothing was averaged");
    const behindItsBack = moments.with(index, { ...moment, event: forge(moment.event) });
    expect(brokenInvariants(behindItsBack)).toContainEqual(
      expect.stringMatching(/^epoch 0, attempt 0, stage \d, partition \d: merged from unequal hashes$/),
    );
  });

  it("find replicas that merged into unequal weights", () => {
    expect(brokenInvariants(replay(forgeFirst("merged")))).toContainEqual(
      expect.stringMatching(/^epoch 1, attempt 0, stage \d: merged into unequal weights$/),
    );
  });

  it("find a replica that began from other weights than the merged ones", () => {
    expect(brokenInvariants(replay(forgeFirst("ready")))).toContainEqual(
      expect.stringMatching(/^epoch 1, attempt 0, stage \d: a replica began from other weights$/),
    );
  });

  it("find a loss that rises", () => {
    const books = fakeBooks();
    const rising = { ...books, events: [...books.events, evaluated(5, 9)] };
    expect(brokenInvariants(replay(rising))).toEqual(["the loss did not fall: 3.5 to 9 nats"]);
  });
});

/** The books with another hash in the first such message of epoch 1. */
function forgeFirst(type: "merged" | "ready") {
  const books = fakeBooks();
  const index = books.events.findIndex((event) => isReport(event, type) && event.message.at.epoch === 1);
  const event = books.events[index];
  if (event === undefined) throw new Error(`nobody said "${type}"`);
  return { ...books, events: books.events.with(index, forge(event)) };
}

function isReport<T extends MinerMessage["type"]>(
  event: RunEvent,
  type: T,
): event is Extract<RunEvent, { type: "message" }> & { readonly message: Extract<MinerMessage, { type: T }> } {
  return event.type === "message" && event.message.type === type;
}

function forge(event: RunEvent): RunEvent {
  if (isReport(event, "reduced")) {
    const slices = event.message.slices.map(({ partition }) => ({ partition, hash: forged, missing: [] }));
    return { ...event, message: { ...event.message, slices } };
  }
  if (isReport(event, "merged") || isReport(event, "ready"))
    return { ...event, message: { ...event.message, weightsHash: forged } };
  throw new Error(`"${event.type}" has no hash`);
}
