import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ClientMessage } from "../../protocol/client-messages.ts";
import { FailureError } from "../../protocol/failure.ts";
import { hashBytes } from "../../protocol/identity.ts";
import { ownersPerPartition } from "../../protocol/partitions.ts";
import type { VectorCodec } from "../../protocol/run-config.ts";
import type { Fate } from "../../transport/memory-link.ts";
import { fakeContributions, relativeError } from "./fake-contributions.ts";
import { FakeOrchestrator } from "./fake-orchestrator.ts";
import { FakeSwarm, fakePlace } from "./fake-swarm.ts";
import type { FakeContribution } from "./fake-vector-engine.ts";

const seed = 20_261_126;

/** How slices are encoded, how many numbers make so many slices as there are replicas, and how far off their mean may be. */
const codecs: readonly { name: string; codec: VectorCodec; parameters: number; tolerance: number }[] = [
  { name: "uncompressed", codec: { kind: "f32" }, parameters: 64, tolerance: 1e-6 },
  { name: "in two bits", codec: { kind: "dense", bits: 2 }, parameters: 5 * 4096, tolerance: 0.6 },
  { name: "of a tenth of the numbers", codec: { kind: "top-k", share: 0.1 }, parameters: 5 * 4096, tolerance: 1 },
];

/** Lets a test see reports, after the orchestrator has seen them. */
function onReports(swarm: FakeSwarm, look: FakeSwarm["onReport"]): void {
  const { onReport } = swarm;
  swarm.onReport = (from, message) => {
    onReport(from, message);
    look(from, message);
  };
}

function first<T>(list: readonly T[]): T {
  const [one] = list;
  if (one === undefined) throw new Error("an empty list");
  return one;
}

describe.each(codecs)("slices $name", ({ codec, parameters, tolerance }) => {
  const { training } = fakePlace;
  const place = { ...fakePlace, training: { ...training, compression: { ...training.compression, merge: codec } } };

  function swarmWith(contributions: readonly FakeContribution[]) {
    const swarm = new FakeSwarm(contributions, place);
    return { swarm, contributions, orchestrator: new FakeOrchestrator(swarm, parameters) };
  }

  function swarmOf(replicas: number) {
    return swarmWith(fakeContributions(replicas, parameters, seed));
  }

  describe("a merge among unreliable links", () => {
    it("comes to the same, whatever is lost, doubled or late", { timeout: 120_000 }, async () => {
      const fates = fc.array(fc.constantFrom<Fate>("deliver", "deliver", "deliver", "drop", "double", "hold"), {
        minLength: 20,
        maxLength: 200,
      });
      await fc.assert(
        fc.asyncProperty(fates, async (order) => {
          const { swarm, contributions, orchestrator } = swarmOf(3);
          let message = 0;
          swarm.fate = () => {
            const fate = order[message++] ?? "deliver";
            if (fate !== "hold") swarm.network.release();
            return fate;
          };
          const outcome = await orchestrator.merge();
          expect(outcome.lost).toBe(0);
          expect(outcome.contributors).toHaveLength(3);
          expect(relativeError(swarm, contributions, outcome)).toBeLessThan(tolerance);
        }),
        { seed, numRuns: 50 },
      );
    });

    it("goes on over new links after all were lost at once", async () => {
      for (const moment of [10, 20, 30, 40, 50]) {
        const { swarm, contributions, orchestrator } = swarmOf(3);
        swarm.fate = () => {
          if (swarm.moments === moment) for (const member of swarm.members) member.peerBlobs.disconnected();
          return swarm.moments >= moment && swarm.clock.nowMs() < 30_000 ? "drop" : "deliver";
        };
        swarm.clock.after(30_000, () => {
          for (const { peerBlobs, link, acts } of swarm.members) {
            peerBlobs.connected(link);
            acts.lookAgain();
          }
        });
        const outcome = await orchestrator.merge();
        expect(outcome.lost).toBe(0);
        expect(outcome.contributors).toHaveLength(3);
        expect(relativeError(swarm, contributions, outcome)).toBeLessThan(tolerance);
      }
    });

    it("waits for a replica that falls silent no longer than its own patience, once it is off the roster", async () => {
      const { swarm, contributions, orchestrator } = swarmOf(4);
      const { id } = first(swarm.members);
      const silentFrom = 60;
      swarm.fate = ({ from, to }) => (swarm.moments > silentFrom && (from === id || to === id) ? "drop" : "deliver");
      swarm.clock.after(15_000, () => swarm.kill(id));
      const outcome = await orchestrator.merge();
      expect(outcome.lost).toBe(0);
      expect(relativeError(swarm, contributions, outcome)).toBeLessThan(tolerance);
      expect(swarm.clock.nowMs()).toBeLessThan(30_000);
    });
  });

  describe("an order that is repeated", () => {
    it("changes nothing", async () => {
      const { swarm, contributions, orchestrator } = swarmOf(3);
      const { order } = swarm;
      swarm.order = (to, message) => {
        for (let time = 0; time < 3; time++) order.call(swarm, to, message);
      };
      const outcome = await orchestrator.merge();
      expect(relativeError(swarm, contributions, outcome)).toBeLessThan(tolerance);
    });

    it("to average is answered again, but not at once: the answer may have been lost", async () => {
      const { swarm, orchestrator } = swarmOf(2);
      const reports: ClientMessage[] = [];
      onReports(swarm, (_, message) => {
        if (message.type === "reduced") reports.push(message);
      });
      const { order } = swarm;
      const reduce = Promise.withResolvers<Parameters<typeof order>>();
      swarm.order = (...given) => {
        if (given[1].type === "reduce") reduce.resolve(given);
        order.apply(swarm, given);
      };
      await orchestrator.merge();
      const given = await reduce.promise;
      const before = reports.length;
      order.apply(swarm, given);
      swarm.clock.advance(4000);
      order.apply(swarm, given);
      order.apply(swarm, given);
      await swarm.until(() => reports.length > before);
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
      expect(reports.length).toBe(before + 1);
    });
  });

  describe("owners that disagree", () => {
    it("are decided between by the next replica in line, from what it fetches of the others", async () => {
      const { swarm, contributions, orchestrator } = swarmOf(4);
      const liar = first(swarm.members);
      const onReport = swarm.onReport;
      swarm.onReport = (from, message) => {
        if (message.type !== "reduced" || from !== liar.id) onReport(from, message);
        else {
          const slices = message.slices.map((slice) => ({ ...slice, hash: hashBytes(Buffer.from("a lie")) }));
          onReport(from, { ...message, slices });
        }
      };
      const outcome = await orchestrator.merge();
      expect(outcome.lost).toBe(0);
      expect(relativeError(swarm, contributions, outcome)).toBeLessThan(tolerance);
    });

    it("may have missed every offer: what was contributed can be found out, even of the dead", async () => {
      const { swarm, contributions, orchestrator } = swarmOf(5);
      const late = first(swarm.members).id;
      // A partition that both own would have had two dropouts.
      const owners = orchestrator.partitions.map(({ order }) => order.slice(0, ownersPerPartition));
      const victim = first(
        swarm.members.filter(({ id }) => !owners.some((both) => both.includes(late) && both.includes(id))),
      ).id;
      swarm.fate = ({ to, kind }) => (to === late && kind === "merge" && swarm.away.has(late) ? "drop" : "deliver");
      swarm.away.add(late);
      let contributed = 0;
      onReports(swarm, (_, { type }) => {
        if (type === "contributed") contributed += 1;
        if (contributed < 4) return;
        swarm.away.delete(late);
        swarm.kill(victim);
      });
      const outcome = await orchestrator.merge();
      expect(outcome.lost).toBe(0);
      expect(outcome.contributors).toContain(victim);
      expect(relativeError(swarm, contributions, outcome)).toBeLessThan(tolerance);
    });
  });

  describe("a replica", () => {
    it("that comes too late to contribute is in step again after the merge", async () => {
      const { swarm, contributions, orchestrator } = swarmOf(3);
      const late = first(swarm.members);
      swarm.away.add(late.id);
      const { order } = swarm;
      swarm.order = (to, message) => {
        if (to !== late.id || message.type === "apply") order.call(swarm, to, message);
      };
      const outcome = await orchestrator.merge();
      expect(outcome.contributors).not.toContain(late.id);
      expect(outcome.weightsHashes.size).toBe(1);
      expect(relativeError(swarm, contributions, outcome)).toBeLessThan(tolerance);
      expect(late.phases.phase.kind).toBe("merged");
    });

    it("whose worker crashes in the merge takes part again once it is prepared anew", async () => {
      const { swarm, contributions, orchestrator } = swarmOf(3);
      const { id, engine, phases } = first(swarm.members);
      const call = engine.call.bind(engine);
      const crash = new FailureError("compute-crashed", "The fake worker crashed.");
      engine.call = (method, ...args) => (method === "applyMerged" ? Promise.reject(crash) : call(method, ...args));
      const { order } = swarm;
      let apply: Parameters<typeof order>[1] | null = null;
      swarm.order = (to, message) => {
        if (to === id && message.type === "apply") apply = message;
        order.call(swarm, to, message);
      };
      swarm.onFailed = (_, error) => {
        expect(error).toBe(crash);
        phases.enter({ kind: "failed", place: fakePlace, failure: crash.failure });
        engine.call = call;
        phases.enter({ kind: "ready", place: fakePlace, samples: { sample: () => Promise.reject(crash) } });
        if (apply !== null) order.call(swarm, id, apply);
      };
      const outcome = await orchestrator.merge();
      expect(outcome.weightsHashes.size).toBe(1);
      expect(relativeError(swarm, contributions, outcome)).toBeLessThan(tolerance);
    });

    it("that has nothing to contribute says so, and nobody waits for it", async () => {
      const given = fakeContributions(3, parameters, seed);
      const { swarm, contributions, orchestrator } = swarmWith(
        given.with(1, { values: new Float32Array(parameters), tokens: 0 }),
      );
      const outcome = await orchestrator.merge();
      expect(outcome.lost).toBe(0);
      expect(relativeError(swarm, contributions, outcome)).toBeLessThan(tolerance);
      expect(swarm.clock.nowMs()).toBeLessThan(2000);
    });

    it("whose contribution is an outlier is left out and named", async () => {
      const contributions = fakeContributions(4, parameters, seed);
      const loud = { tokens: 100, values: new Float32Array(parameters).fill(1e6) };
      const { swarm, orchestrator } = swarmWith([...contributions, loud]);
      const outcome = await orchestrator.merge();
      const { id } = swarm.members[4] ?? {};
      expect([...outcome.outliers]).toEqual([id]);
      expect(outcome.lost).toBe(0);
      const honest = { ...outcome, contributors: outcome.contributors.filter((contributor) => contributor !== id) };
      expect(relativeError(swarm, contributions, honest)).toBeLessThan(tolerance);
    });

    it("that is prepared for the next epoch keeps nothing of this one's merge", async () => {
      const { swarm, orchestrator } = swarmOf(2);
      await orchestrator.merge();
      const [member, other] = swarm.members;
      if (member === undefined || other === undefined) throw new Error("two members");
      const { hash } = member.peerBlobs.offer(new Uint8Array(1)).ref;
      expect(member.peerBlobs.offeredBlobs).toBeGreaterThan(1);
      member.phases.enter({ kind: "preparing", place: { ...fakePlace, at: { ...fakePlace.at, epoch: 4 } } });
      expect(member.peerBlobs.offeredBlobs).toBe(1);
      expect(hash).toHaveLength(64);
    });
  });
});
