import { describe, expect, it } from "vitest";
import { type Accusation, accusedOf, isProven } from "../../protocol/accusation.ts";
import { decodeMicrobatch } from "../../protocol/microbatch.ts";
import { noCompression } from "../../protocol/run-config.ts";
import type { AddressedMessage } from "../../transport/memory-link.ts";
import { type Lie, lying } from "./fake-liar.ts";
import { type FakeMember, FakeSwarm, fakeNetworkId } from "./fake-swarm.ts";

const stages = 3;
const signedKinds = ["forward", "backward", "exchange"];
/** Each of the first `count` microbatches, once. */
const onceEach = (count: number) => new Map(Array.from({ length: count }, (_, microbatch) => [microbatch, 1]));

function accusations(members: readonly FakeMember[]): readonly Accusation[] {
  return members.flatMap(({ sent }) => sent.flatMap((message) => (message.type === "accuse" ? message : [])));
}

function damageIn(members: readonly FakeMember[]) {
  const all = members.flatMap(({ places }) => members.map(({ id }) => places.damagedFrom(id)));
  return {
    direct: all.reduce((sum, { direct }) => sum + direct, 0),
    relayed: all.reduce((sum, { relayed }) => sum + relayed, 0),
  };
}

/** Flips a bit of the signature, of the origin or of the numbers: whichever the turn says. */
function damage({ kind, body }: AddressedMessage, turn: number): void {
  const recordAt = kind === "exchange" ? 24 : 32 + 32 * decodeMicrobatch(body).path.length;
  const at = [recordAt + 5, recordAt + 70, body.length - 1][turn % 3] ?? 0;
  body[at] = (body[at] ?? 0) ^ 1;
}

describe("a way that damages what passes", () => {
  const compression = { ...noCompression, exchange: { codec: { kind: "f32" }, lag: 0 } } as const;

  it("costs time only: everything is trained once, and each damaged message is counted, and nobody is accused", async () => {
    const swarm = new FakeSwarm(stages, 2, { compression, stepsPerEpoch: 3 });
    let [passed, damaged] = [0, 0];
    swarm.network.fate = (message) => {
      const isNumbers = signedKinds.includes(message.kind) && message.body.length > 150;
      if (isNumbers && passed++ % 4 === 0) damage(message, damaged++);
      return "deliver";
    };
    await swarm.prepare();
    swarm.start();
    for (const done of await swarm.trained()) expect(done).toMatchObject({ microbatchesDone: 9, microbatchesLost: 0 });
    for (const stage of [0, 1, 2]) expect(swarm.trainedIn(stage)).toEqual(onceEach(18));
    expect(damaged).toBeGreaterThan(20);
    expect(damageIn(swarm.members)).toEqual({ direct: 0, relayed: damaged });
    expect(accusations(swarm.members)).toEqual([]);
    await swarm.merge();
    const reported = swarm.members.map(({ sent }) => sent.findLast((message) => message.type === "progress"));
    expect(reported.reduce((sum, progress) => sum + (progress?.messagesDamaged ?? 0), 0)).toBe(damaged);
  });

  it("leaves the loss as it is", async () => {
    const lossOf = async (damages: boolean) => {
      const swarm = new FakeSwarm(stages, 1);
      let passed = 0;
      swarm.network.fate = (message) => {
        if (damages && signedKinds.includes(message.kind) && passed++ % 3 === 0) damage(message, 2);
        return "deliver";
      };
      await swarm.prepare();
      swarm.start();
      await swarm.trained();
      await swarm.merge();
      return (await swarm.heard(swarm.member(2, 0), "contributed")).lossSumNats;
    };
    expect(await lossOf(true)).toBe(await lossOf(false));
  });
});

describe("a replica that lies to its peers, and signs it", () => {
  const otherNumbers: Lie = { payload: (payload) => payload.fill(1, payload.length - 4) };

  /** Trains an epoch in which the liar also sends what `lie` makes of some messages of its own. */
  async function trainWith(
    liarOf: (swarm: FakeSwarm) => FakeMember,
    kind: "forward" | "backward",
    lieFor: (message: AddressedMessage) => Lie,
    hidesTruth = false,
  ) {
    const swarm = new FakeSwarm(stages, 2);
    const liar = liarOf(swarm);
    swarm.network.fate = (message) => {
      if (message.from !== liar.id || message.kind !== kind || lies.has(message.body.toString())) return "deliver";
      const lie = Uint8Array.from(lying(swarm, liar, message, lieFor(message)));
      lies.add(lie.toString());
      void liar.link.send(message.to, kind, lie);
      return hidesTruth ? "drop" : "deliver";
    };
    const lies = new Set<string>();
    await swarm.prepare();
    swarm.start();
    return { swarm, liar, honest: swarm.members.filter((member) => member !== liar) };
  }

  it.each([
    ["activations", "forward", 1],
    ["activations of its own", "forward", 0],
    ["gradients", "backward", 2],
  ] as const)("with two different %s is accused by whom it lied to, with proof", async (_, kind, stage) => {
    const { swarm, liar, honest } = await trainWith(
      (all) => all.member(stage, 0),
      kind,
      () => otherNumbers,
    );
    await swarm.trained();
    const said = accusations(honest);
    expect(said.length).toBeGreaterThan(0);
    for (const accusation of said) {
      expect(accusation).toMatchObject({ kind, at: { ...swarm.at, stage }, proof: { type: "two-contents" } });
      expect(accusedOf(accusation)).toBe(liar.id);
      expect(isProven(accusation, fakeNetworkId, stages)).toBe(true);
    }
    // Nobody is told of every single lie.
    for (const member of honest) expect(accusations([member]).length).toBeLessThanOrEqual(3);
    for (const stage of [0, 1, 2]) expect(swarm.trainedIn(stage)).toEqual(onceEach(12));
  });

  it("about what it computed from is accused of it, with proof, and nothing is computed from it", async () => {
    const invented = (message: AddressedMessage): Lie => {
      const { origin } = decodeMicrobatch(message.body);
      return origin === null ? {} : { origin: { ...origin, content: "ab".repeat(32) } };
    };
    const { swarm, liar, honest } = await trainWith((all) => all.member(1, 0), "forward", invented, true);
    await swarm.until(() => accusations(honest).length > 0);
    for (const accusation of accusations(honest)) {
      expect(accusation.proof.type).toBe("false-origin");
      expect(accusedOf(accusation)).toBe(liar.id);
      expect(isProven(accusation, fakeNetworkId, stages)).toBe(true);
    }
    // As the network would.
    swarm.kill(liar, honest);
    await swarm.trained(swarm.inStage(0, honest));
    const [passedOn] = swarm.inStage(1, honest);
    if (passedOn === undefined) throw new Error("nobody");
    for (const microbatch of swarm.trainedIn(2).keys())
      expect(swarm.engine(passedOn).trained.includes(microbatch)).toBe(true);
  });

  it("about a stranger's numbers is not listened to", async () => {
    const strangers = (message: AddressedMessage): Lie => {
      const { origin } = decodeMicrobatch(message.body);
      return origin === null ? {} : { origin: { ...origin, sender: message.from } };
    };
    const { swarm, honest } = await trainWith((all) => all.member(1, 0), "forward", strangers, true);
    await swarm.until(() => honest.some(({ log }) => log.join().includes("computed from a stranger's")));
    expect(accusations(honest)).toEqual([]);
  });
});
