import { describe, expect, it } from "vitest";
import { encodeVector } from "../../compute/codec/vector.ts";
import { decodeExchange, type ExchangeMessage, encodeExchange } from "../../protocol/exchange-messages.ts";
import { noCompression, type TrainingConfig } from "../../protocol/run-config.ts";
import type { AddressedMessage } from "../../transport/memory-link.ts";
import { lying } from "../flow/fake-liar.ts";
import { type FakeMember, FakeSwarm } from "../flow/fake-swarm.ts";
import { FakeClock } from "../session/fake-clock.ts";

const stepsPerEpoch = 5;

/** Of a run that exchanges every step. */
function exchanging(lag: 0 | 1, more: Partial<TrainingConfig> = {}): Partial<TrainingConfig> {
  const compression = { ...noCompression, exchange: { codec: { kind: "f32" }, lag } } as const;
  return { stepsPerEpoch, compression, ...more };
}

/** By how many replicas each of the member's steps was averaged. */
const averaged = (swarm: FakeSwarm, member: FakeMember) => swarm.engine(member).exchange.averaged;
/** How far the replicas of the stage have got together, as this one knows it. */
const shared = (swarm: FakeSwarm, member: FakeMember) => swarm.engine(member).exchange.shared;

/** The epoch's last step is never exchanged. */
const hasStepped = (swarm: FakeSwarm, member: FakeMember) => swarm.engine(member).calls.at(-1) === "step";

async function trainToTheEnd(swarm: FakeSwarm, members = swarm.members): Promise<void> {
  await swarm.trained(swarm.inStage(0, members));
  await swarm.until(() => members.every((member) => hasStepped(swarm, member)));
}

function exchanged(message: AddressedMessage): ExchangeMessage | null {
  return message.kind === "exchange" ? decodeExchange(message.body) : null;
}

describe.each([0, 1] as const)("an exchange at every step, with a lag of %i", (lag) => {
  it("averages every step but the last over all replicas of the stage, to the same bits", async () => {
    const swarm = new FakeSwarm(2, 3, exchanging(lag, { microbatchesPerStep: 4 }));
    await swarm.prepare();
    swarm.start();
    await trainToTheEnd(swarm);
    for (const stage of [0, 1]) {
      const replicas = swarm.inStage(stage);
      for (const replica of replicas) expect(averaged(swarm, replica)).toHaveLength(stepsPerEpoch - 1);
      expect(new Set(replicas.map((replica) => shared(swarm, replica))).size).toBe(1);
      expect(shared(swarm, swarm.member(stage, 0))).toBeGreaterThan(0);
    }
    const merged = await swarm.merge();
    for (const stage of [0, 1]) {
      const hashes = swarm.inStage(stage).map((member) => merged[swarm.members.indexOf(member)]?.weightsHash);
      expect(new Set(hashes).size).toBe(1);
    }
  });

  it.each([1, 2, 3, 4])("does so while messages are lost, doubled, reordered and delayed (seed %i)", async (seed) => {
    const swarm = new FakeSwarm(2, 3, exchanging(lag, { microbatchesPerStep: 4 }), { seed });
    disturb(swarm, seed);
    await swarm.prepare();
    swarm.start();
    await trainToTheEnd(swarm);
    for (const stage of [0, 1])
      expect(new Set(swarm.inStage(stage).map((replica) => shared(swarm, replica))).size).toBe(1);
  });

  it("goes on without a replica that is lost in its middle", async () => {
    const swarm = new FakeSwarm(1, 3, exchanging(lag));
    await swarm.prepare();
    swarm.start();
    const [victim, ...rest] = swarm.members;
    if (victim === undefined) throw new Error("a victim");
    await swarm.until(() => rest.every((member) => averaged(swarm, member).length > 0));
    swarm.kill(victim);
    await trainToTheEnd(swarm, rest);
    for (const member of rest) expect(averaged(swarm, member).at(-1)).toBe(2);
    expect(new Set(rest.map((member) => shared(swarm, member))).size).toBe(1);
  });

  it("goes on without a replica that says nothing, and waits for it only once", async () => {
    const swarm = new FakeSwarm(1, 3, exchanging(lag));
    const [silent, ...rest] = swarm.members;
    if (silent === undefined) throw new Error("a replica");
    const asked = new Set<number>();
    swarm.network.fate = (message) => {
      const about = exchanged(message);
      if (about?.type === "ask" && message.to === silent.id) asked.add(about.step);
      return about !== null && message.from === silent.id ? "drop" : "deliver";
    };
    await swarm.prepare();
    swarm.start();
    await trainToTheEnd(swarm, rest);
    for (const member of rest) expect(averaged(swarm, member)).toEqual([2, 2, 2, 2]);
    expect(asked).toEqual(new Set([0]));
  });

  it("takes a replica in again that was given up", async () => {
    const swarm = new FakeSwarm(1, 3, exchanging(lag, { stepsPerEpoch: 8 }));
    const [late, ...rest] = swarm.members;
    if (late === undefined) throw new Error("a replica");
    let isSilent = true;
    swarm.network.fate = (message) =>
      isSilent && message.kind === "exchange" && (message.from === late.id || message.to === late.id)
        ? "drop"
        : "deliver";
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => rest.every((member) => averaged(swarm, member).length === 1));
    isSilent = false;
    await trainToTheEnd(swarm);
    for (const member of rest) expect(averaged(swarm, member).at(-1)).toBe(3);
  });

  it("drops what comes when it is too late", async () => {
    const swarm = new FakeSwarm(1, 3, exchanging(lag));
    const [late, ...rest] = swarm.members;
    if (late === undefined) throw new Error("a replica");
    swarm.network.fate = (message) => (exchanged(message)?.step === 0 && message.from === late.id ? "hold" : "deliver");
    await swarm.prepare();
    swarm.start();
    await swarm.until(() => rest.every((member) => averaged(swarm, member).length > 0));
    swarm.network.release();
    await trainToTheEnd(swarm);
    for (const member of rest) {
      expect(averaged(swarm, member)[0]).toBe(2);
      expect(averaged(swarm, member).at(-1)).toBe(3);
    }
  });

  it("leaves out, and says, what cannot be read", async () => {
    const swarm = new FakeSwarm(1, 3, exchanging(lag));
    const [liar, ...rest] = swarm.members;
    if (liar === undefined) throw new Error("a replica");
    swarm.network.fate = (message) => {
      if (message.from === liar.id && exchanged(message)?.type === "moved")
        message.body.set(lying(swarm, liar, message, { payload: (payload) => payload.fill(0xff) }));
      return "deliver";
    };
    await swarm.prepare();
    swarm.start();
    await trainToTheEnd(swarm);
    for (const member of rest) {
      expect(averaged(swarm, member)).toEqual([2, 2, 2, 2]);
      expect(member.log.join()).toContain("cannot be read");
    }
    expect(new Set(rest.map((member) => shared(swarm, member))).size).toBe(1);
  });

  it("drops what a source moved on more tokens than its share of the step has, and says so", async () => {
    const swarm = new FakeSwarm(1, 2, exchanging(lag));
    const [liar, honest] = swarm.members;
    if (liar === undefined || honest === undefined) throw new Error("two replicas");
    swarm.network.fate = (message) => {
      const moved = exchanged(message);
      const tokensOffset = 12;
      if (message.from === liar.id && moved?.type === "moved" && moved.parts > 0)
        new DataView(message.body.buffer, message.body.byteOffset).setUint32(tokensOffset, 2 * moved.tokens, true);
      return "deliver";
    };
    await swarm.prepare();
    swarm.start();
    await trainToTheEnd(swarm);
    expect(averaged(swarm, honest)).toEqual([1, 1, 1, 1]);
    expect(honest.log.join()).toMatch(/Dropped message 1, from .*: a movement on \d+ tokens/);
  });

  it("drops what others than the stage's replicas say, and what no movement of the stage can be", async () => {
    const swarm = new FakeSwarm(2, 2, exchanging(lag));
    const [victim, peer, ...others] = swarm.members;
    if (victim === undefined || peer === undefined) throw new Error("replicas");
    await swarm.prepare();
    const hostile = forgeries(1000);
    let forged = 0;
    swarm.network.fate = (message) => {
      if (message.kind !== "exchange" || others.every(({ id }) => id !== message.from)) return "deliver";
      for (const body of hostile.splice(0, 40)) {
        forged += 1;
        void others[0]?.link.send(victim.id, "exchange", body);
        void peer.link.send(victim.id, "exchange", body);
      }
      return "deliver";
    };
    swarm.start();
    await trainToTheEnd(swarm);
    expect(forged).toBeGreaterThan(100);
    expect(victim.log.join()).toContain("Dropped");
    expect(shared(swarm, victim)).toBe(shared(swarm, peer));
  });

  it("waits while the network cannot be reached", async () => {
    const swarm = new FakeSwarm(1, 2, exchanging(lag));
    const [away, other] = swarm.members;
    if (away === undefined || other === undefined) throw new Error("two replicas");
    await swarm.prepare();
    swarm.network.fate = (message) => (message.kind === "exchange" ? "drop" : "deliver");
    const roster = swarm.start();
    await swarm.turns(100);
    swarm.disconnect(away);
    await swarm.turns(1000);
    swarm.network.fate = () => "deliver";
    swarm.reconnect(away);
    swarm.announce("roster", swarm.members, { ...roster, version: roster.version + 1 });
    await trainToTheEnd(swarm);
    for (const member of swarm.members) expect(averaged(swarm, member)).toEqual([2, 2, 2, 2]);
  });

  it("is made in groups where a stage has many replicas", async () => {
    const swarm = new FakeSwarm(1, 6, exchanging(lag));
    let sent = 0;
    swarm.network.fate = (message) => {
      if (exchanged(message)?.type === "moved") sent += 1;
      return "deliver";
    };
    await swarm.prepare();
    swarm.start();
    await trainToTheEnd(swarm);
    for (const member of swarm.members) expect(averaged(swarm, member)).toEqual([3, 3, 3, 3]);
    expect(sent).toBe(6 * 2 * 4);
  });
});

describe("an exchange with a lag of 1", () => {
  it("keeps replicas no further apart than what each moved since the last average", async () => {
    const swarm = new FakeSwarm(2, 3, exchanging(1, { microbatchesPerStep: 4, stepsPerEpoch: 12 }));
    await swarm.prepare();
    swarm.start();
    const replicas = swarm.inStage(1);
    const inStep = 3 * swarm.training.microbatchesPerStep;
    let furthest = 0;
    await swarm.until(() => {
      const moved = replicas.map((replica) => swarm.engine(replica).moved);
      const steps = replicas.map((replica) => averaged(swarm, replica).length);
      if (new Set(steps).size === 1) furthest = Math.max(furthest, Math.max(...moved) - Math.min(...moved));
      return replicas.every((member) => hasStepped(swarm, member));
    });
    expect(furthest).toBeGreaterThan(0);
    expect(furthest).toBeLessThanOrEqual(2 * inStep);
  });
});

describe("a step by oneself", () => {
  it("is taken where the stage has a single replica", async () => {
    const swarm = new FakeSwarm(2, 1, exchanging(0));
    await swarm.prepare();
    swarm.start();
    await trainToTheEnd(swarm);
    for (const member of swarm.members) {
      expect(swarm.engine(member).calls.filter((call) => call === "step")).toHaveLength(stepsPerEpoch);
      expect(averaged(swarm, member)).toEqual([]);
    }
  });
});

/** Messages with something wrong in each. */
function forgeries(count: number): Uint8Array[] {
  const random = new FakeClock(7);
  const header = { epoch: 0, attempt: 0, stage: 0 };
  const payload = encodeVector(new Float32Array(100), { kind: "f32" }, 1);
  return Array.from({ length: count }, (_, index) => {
    const step = index % 7;
    const kind = index % 4;
    if (kind === 0)
      return encodeExchange({
        ...{ ...header, step, type: "moved", tokens: 16, part: 0, parts: 1 + (index % 3) },
        signature: "00".repeat(64),
        payload,
      });
    const bytes = Buffer.from(encodeExchange({ ...header, step, type: "ask", part: index % 5 }));
    if (kind === 1) return bytes.subarray(0, Math.floor(random.random() * bytes.length));
    bytes.writeUInt8(Math.floor(random.random() * 256), 12 + Math.floor(random.random() * 12));
    return kind === 2 ? bytes : Buffer.concat([bytes, payload]);
  });
}

/** 5 % lost, 5 % doubled, and as many again held back for up to some seconds, in which others overtake them. */
function disturb(swarm: FakeSwarm, seed: number): void {
  const chance = new FakeClock(seed + 1000);
  const dueAtMs = new Map<object, number>();
  swarm.network.fate = (message) => {
    const draw = chance.random();
    if (draw < 0.05) return "drop";
    if (draw < 0.1) return "double";
    if (draw > 0.2) return "deliver";
    dueAtMs.set(message, swarm.clock.nowMs() + 2000 * chance.random());
    return "hold";
  };
  const release = () => {
    swarm.network.release((message) => (dueAtMs.get(message) ?? 0) <= swarm.clock.nowMs());
    swarm.clock.after(1, release);
  };
  release();
}
