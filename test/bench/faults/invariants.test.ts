import { describe, expect, it } from "vitest";
import type { RunEvent } from "../../../src/network/orchestrator/core/event.ts";
import { fakeHash } from "../../../src/network/orchestrator/core/fake-swarm.ts";
import { evaluated, fakeBooks } from "./fake-books.ts";
import { brokenInvariants, replay } from "./invariants.ts";

describe("the invariants of a run", () => {
  it("hold of an honest run that lost a miner", () => {
    expect(brokenInvariants(fakeBooks())).toEqual([]);
  });

  it("find credits that fell, and an epoch that was left out", () => {
    const books = fakeBooks();
    const moments = replay(books);
    const last = moments.at(-1);
    if (last === undefined) throw new Error("no events");
    const forged = { ...last, before: last.after, after: { ...last.after, credits: {}, epoch: last.after.epoch + 2 } };
    const broken = brokenInvariants(books, [...moments, forged]).join("\n");
    expect(broken).toMatch(/credits of \w+ fell in epoch 2/);
    expect(broken).toContain("after epoch 2 came epoch 4");
  });

  it("find replicas that merged into unequal weights", () => {
    const books = fakeBooks();
    const broken = brokenInvariants({ ...books, events: forgeHash(books.events, "merged") });
    expect(broken[0]).toMatch(/^epoch 1, attempt 0, stage \d: merged into unequal weights$/);
  });

  it("find a replica that began from other weights than the merged ones", () => {
    const books = fakeBooks();
    const broken = brokenInvariants({ ...books, events: forgeHash(books.events, "ready") });
    expect(broken.join()).toMatch(/epoch 1, stage \d: a replica began from other weights/);
  });

  it("find a loss that rises", () => {
    const books = fakeBooks();
    expect(brokenInvariants({ ...books, events: [...books.events, evaluated(3, 9)] })).toEqual([
      "the loss did not fall: 3 to 9 nats",
    ]);
  });
});

/** Another hash in the first such message of epoch 1. */
function forgeHash(events: readonly RunEvent[], type: "merged" | "ready"): readonly RunEvent[] {
  const index = events.findIndex(
    (event) => event.type === "message" && event.message.type === type && event.message.at.epoch === 1,
  );
  const event = events[index];
  if (event?.type !== "message" || event.message.type !== type) throw new Error(`nobody said "${type}"`);
  return events.with(index, { ...event, message: { ...event.message, weightsHash: fakeHash("forged") } });
}
