import { expect, it } from "vitest";
import { type MessageKind, messageKinds } from "../../protocol/frames.ts";
import { FakeSwarm } from "./fake-swarm.ts";

const seed = 20_261_123;

it("a replica drops whatever hostile peers send, and trains as if nothing had come", async () => {
  const swarm = new FakeSwarm(3, 3);
  const honest = swarm.members.filter((_, index) => index % 3 < 2);
  const strangers = swarm.members.filter((_, index) => index % 3 === 2);
  const recorded: { kind: MessageKind; body: Uint8Array }[] = [];
  const random = randomNumbers(seed);
  let sentByStrangers = 0;
  swarm.network.fate = ({ from, kind, body }) => {
    if (strangers.some(({ id }) => id === from)) return "deliver";
    recorded.push({ kind, body });
    // With every honest message come five hostile ones, made out of what was overheard.
    for (let i = 0; i < 5; i++) {
      const model = recorded[random(recorded.length)];
      const stranger = strangers[random(strangers.length)];
      const victim = honest[random(honest.length)];
      if (model === undefined || stranger === undefined || victim === undefined) continue;
      sentByStrangers += 1;
      void stranger.link.send(
        victim.id,
        messageKinds[random(messageKinds.length)] ?? "forward",
        spoiled(model.body, random),
      );
    }
    return "deliver";
  };
  await swarm.prepare(honest);
  swarm.start(honest);
  for (const done of await swarm.trained(swarm.inStage(0, honest)))
    expect(done).toMatchObject({ microbatchesDone: 6, microbatchesLost: 0 });
  for (const stage of [0, 1, 2])
    expect([...swarm.trainedIn(stage, honest)].toSorted(([a], [b]) => a - b)).toEqual(
      Array.from({ length: 12 }, (_, microbatch) => [microbatch, 1]),
    );
  expect(sentByStrangers).toBeGreaterThan(200);
  expect(honest.some(({ log }) => log.some((line) => line.includes("Dropped")))).toBe(true);
});

it("a replica drops wrong shapes, paths and turns from a miner that does belong to the epoch", async () => {
  const swarm = new FakeSwarm(2, 2);
  const [source, rogue] = swarm.inStage(0);
  const [last, otherLast] = swarm.inStage(1);
  if (source === undefined || rogue === undefined || last === undefined || otherLast === undefined)
    throw new Error("members are missing");
  const random = randomNumbers(seed);
  const headerBytes = 32;
  await swarm.prepare();
  let spoiledMessages = 0;
  swarm.network.fate = ({ from, to, body }) => {
    if (from !== source.id || to !== last.id || body.length <= 96) return "deliver";
    // The rogue repeats the source's messages as they are and with a changed header: they are not its own either way.
    for (const copy of [body, ...Array.from({ length: 8 }, () => changed(body, random(headerBytes), random(256)))]) {
      spoiledMessages += 1;
      void rogue.link.send(last.id, "forward", copy);
    }
    return "deliver";
  };
  swarm.start();
  await swarm.trained([source, rogue]);
  expect(spoiledMessages).toBeGreaterThan(20);
  const trained = [last, otherLast].flatMap((member) => swarm.engine(member).trained);
  expect(trained.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, microbatch) => microbatch));
});

function spoiled(body: Uint8Array, random: (below: number) => number): Uint8Array {
  switch (random(4)) {
    case 0:
      return body; // a replay
    case 1:
      return body.subarray(0, random(body.length));
    case 2:
      return Uint8Array.from({ length: random(300) }, () => random(256));
    default:
      return changed(body, random(Math.min(body.length, 128)), random(256));
  }
}

function changed(body: Uint8Array, offset: number, value: number): Uint8Array {
  const copy = Uint8Array.from(body);
  copy[offset] = value;
  return copy;
}

/** Integers from 0 to below `below`, drawn from a seed (a linear congruential generator). */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
