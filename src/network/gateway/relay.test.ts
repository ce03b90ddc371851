import { expect, it } from "vitest";
import { encodeFrame } from "../../protocol/frames.ts";
import { runIdSchema } from "../../protocol/ids.ts";
import { fakeMiner } from "../orchestrator/core/fake-swarm.ts";
import { Relay, type RelaySession } from "./relay.ts";

/** Never read from; what is sent to it waits for ever. */
class FakeSession implements RelaySession {
  unsentBytes = 0;
  isHeld = false;
  isGivenUp = false;
  send() {}
  sendFrame(bytes: Uint8Array) {
    this.unsentBytes += bytes.length;
  }
  hold() {
    this.isHeld = true;
  }
  release() {
    this.isHeld = false;
  }
  giveUp() {
    this.isGivenUp = true;
  }
}

const runId = runIdSchema.parse("run");
const [alice, bob, stranger] = [fakeMiner(1), fakeMiner(2), fakeMiner(3)];

function openRelay() {
  const sessions = { [alice]: new FakeSession(), [bob]: new FakeSession(), [stranger]: new FakeSession() };
  const world = { nowMs: 0, refused: 0, sessions };
  const relay = new Relay({
    sessionOf: (minerId) => sessions[minerId],
    runOf: (minerId) => (minerId === stranger ? null : runId),
    refused: () => {
      world.refused += 1;
    },
    clock: () => world.nowMs,
  });
  const chunk = new Uint8Array(1 << 20);
  const frame = { kind: "forward", peer: bob, messageNumber: 1, totalBytes: chunk.length, offset: 0, chunk } as const;
  return { relay, world, frame };
}

it("a receiver that does not catch up is given up, so that those who send to it need not wait for ever", () => {
  const { relay, world, frame } = openRelay();
  const sender = world.sessions[alice] ?? new FakeSession();
  const receiver = world.sessions[bob] ?? new FakeSession();
  while (!sender.isHeld) relay.forward(alice, sender, encodeFrame(frame));
  world.nowMs = 30_000;
  relay.giveUpSlowest();
  expect(receiver.isGivenUp).toBe(false);
  world.nowMs += 1;
  relay.giveUpSlowest();
  expect(receiver.isGivenUp).toBe(true);
  relay.forget(bob);
  expect(sender.isHeld).toBe(false);
});

it("a frame from who has no place is counted, and goes nowhere", () => {
  const { relay, world, frame } = openRelay();
  relay.forward(stranger, new FakeSession(), encodeFrame(frame));
  expect(world.refused).toBe(1);
  expect(world.sessions[bob]?.unsentBytes).toBe(0);
});
