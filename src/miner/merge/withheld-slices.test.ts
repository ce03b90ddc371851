import { describe, expect, it } from "vitest";
import { hashBytes } from "../../protocol/identity.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { blobRequestSchema, decodeBody, mergeMessageSchema } from "../../protocol/merge-messages.ts";
import { manifestOf, ownersPerPartition, sliceListBytes } from "../../protocol/partitions.ts";
import { fakeContributions, relativeError } from "./fake-contributions.ts";
import { FakeOrchestrator } from "./fake-orchestrator.ts";
import { FakeSwarm } from "./fake-swarm.ts";

const parameters = 64;
const tolerance = 1e-6;
/** The manifest of no contribution. */
const nothing = hashBytes(Buffer.from("nothing"));

/** Replicas, and what there is to see of their merge: `missing` says by whom, and in which partitions, a contributor was missed. */
function watchedSwarm(contributor: number, replicas = 3) {
  const contributions = fakeContributions(replicas, parameters, 1);
  const swarm = new FakeSwarm(contributions);
  const orchestrator = new FakeOrchestrator(swarm, parameters);
  const [first] = swarm.members;
  if (first === undefined) throw new Error("no members");
  const missing = new Map<MinerId, number[]>();
  const { onReport } = swarm;
  swarm.onReport = (from, message) => {
    onReport(from, message);
    if (message.type !== "reduced") return;
    const partitions = message.slices.flatMap((one) => (one.missing.includes(contributor) ? one.partition : []));
    missing.set(from, [...(missing.get(from) ?? []), ...partitions]);
  };
  return { swarm, contributions, orchestrator, first: first.id, missing };
}

describe("a contributor", () => {
  it("that says so and hands nothing to anybody is said to be missing by all who looked for its slices", async () => {
    const { swarm, contributions, orchestrator, first: cheat, missing } = watchedSwarm(0);
    const { onReport } = swarm;
    swarm.onReport = (from, message) =>
      onReport(from, from === cheat && message.type === "contributed" ? { ...message, manifest: nothing } : message);
    const outcome = await orchestrator.merge();
    for (const [from, partitions] of missing)
      expect(partitions.toSorted()).toEqual(
        orchestrator.partitions.flatMap(({ order, index }) =>
          order.slice(0, ownersPerPartition).includes(from) ? index : [],
        ),
      );
    expect(missing.size).toBe(3);
    const served = { ...outcome, contributors: outcome.contributors.filter((one) => one !== cheat) };
    expect(relativeError(swarm, contributions, served)).toBeLessThan(tolerance);
  });

  it("that offers its slices and serves none holds nobody up for longer than one of them is waited for", async () => {
    const { swarm, orchestrator, first: cheat } = watchedSwarm(0);
    const { at } = swarm.place;
    const said = { type: "contributed", at, computeMs: 0, lossSumNats: null, boundary: null } as const;
    swarm.fate = ({ from, kind, body }) => {
      const offer = from === cheat && kind === "merge" ? decodeBody(mergeMessageSchema, body) : null;
      if (offer?.type === "offer") {
        const { tokens, slices } = offer;
        setImmediate(() => swarm.onReport(from, { ...said, tokens, manifest: manifestOf(slices) }));
      }
      return from === cheat && kind === "blob-part" ? "drop" : "deliver";
    };
    await orchestrator.merge();
    expect(swarm.clock.nowMs()).toBeLessThan(40_000);
  });

  it("that serves a list of slices and none of them has nobody wait for a silent replica more than once", async () => {
    const { swarm, orchestrator, first: cheat, missing } = watchedSwarm(0, 4);
    const [, accomplice, ...honest] = swarm.members.map(({ id }) => id);
    const slices = orchestrator.partitions.map(({ index }) => hashBytes(Buffer.from(`no slice ${index}`)));
    const { hash: manifest } = swarm.member(cheat).peerBlobs.offer(sliceListBytes(slices)).ref;
    const contributed = new Set<MinerId>();
    const { onReport } = swarm;
    swarm.onReport = (from, message) => {
      onReport(from, from === cheat && message.type === "contributed" ? { ...message, manifest } : message);
      if (message.type === "contributed") contributed.add(from);
    };
    const asked = new Map<MinerId, number>();
    swarm.fate = ({ from, to, kind, body }) => {
      const isReducing = contributed.size === swarm.members.length;
      if (to === accomplice && kind === "blob-request" && slices.includes(decodeBody(blobRequestSchema, body).hash))
        asked.set(from, (asked.get(from) ?? 0) + 1);
      return from === accomplice && kind === "blob-part" && isReducing ? "drop" : "deliver";
    };
    await orchestrator.merge();
    for (const one of honest) {
      expect(missing.get(one)).toHaveLength(ownersPerPartition);
      expect(asked.get(one)).toBe(2 * 3); // two attempts, each given up after three silences
    }
  });

  it("whose link is bad for a while is waited for before it is said to be missing", async () => {
    const { swarm, contributions, orchestrator, first: late, missing } = watchedSwarm(1);
    let isLinkBad = true;
    let contributed = 0;
    swarm.fate = ({ to, kind }) => {
      const isLost = (kind === "merge" && swarm.away.has(late)) || (kind === "blob-part" && isLinkBad);
      return to === late && isLost ? "drop" : "deliver";
    };
    swarm.away.add(late);
    const { onReport } = swarm;
    swarm.onReport = (from, message) => {
      onReport(from, message);
      if (message.type === "contributed") contributed += 1;
      if (contributed === 2 && swarm.away.delete(late)) swarm.clock.after(40_000, () => (isLinkBad = false));
    };
    const outcome = await orchestrator.merge();
    expect(isLinkBad).toBe(false);
    expect(missing.get(late)).toEqual([]);
    expect(relativeError(swarm, contributions, outcome)).toBeLessThan(tolerance);
  });
});
