import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { EpochRef, MinerId } from "../../../protocol/ids.ts";
import { gatewayMessageSchema } from "../../../protocol/messages.ts";
import { runViewSchema } from "../../../protocol/run-view.ts";
import { apply } from "./apply.ts";
import type { MinerMessage } from "./event.ts";
import { FakeSwarm, fakeDefinition, fakeHash, fakeMiner, fakeStartMs } from "./fake-swarm.ts";
import { createRun, currentEpoch, nextDeadlineMs, type RunState, rosterMembers } from "./state.ts";
import { viewOf } from "./view.ts";

const definition = fakeDefinition({ stages: 2, minimumReplicas: 2, targetTokens: 4000 });
const miner = fc.nat({ max: 6 }).map(fakeMiner);
const blob = fc.record({ hash: fc.constantFrom("a", "b").map(fakeHash), bytes: fc.constantFrom(0, 4, 40_000) });

/** Everything but which epoch it is about. */
type Forgery = (at: EpochRef) => MinerMessage;

type Command =
  | { do: "join" | "answer" | "leave" | "lose"; miner: MinerId }
  | { do: "everyone-answers" | "deadline" | "early-deadline" | "restart" | "evaluate" }
  | { do: "retarget"; targetTokens: number | null }
  | { do: "steer"; action: "pause" | "resume" | "finish" }
  | { do: "forge"; miner: MinerId; message: Forgery; stale: boolean };

const failure = { code: "compute-crashed", message: "crashed", action: "", retry: true } as const;
const hash = fc.constantFrom("a", "b").map(fakeHash);
const forged = fc.oneof(
  hash.map(
    (weightsHash): Forgery =>
      (at) => ({ type: "ready", at, weightsHash }),
  ),
  hash.map(
    (weightsHash): Forgery =>
      (at) => ({ type: "merged", at, weightsHash }),
  ),
  fc.record({ weights: blob, optimizer: blob }).map(
    (blobs): Forgery =>
      (at) => ({ type: "stored", at, ...blobs }),
  ),
  fc.record({ blob, tokens: fc.nat({ max: 5000 }), lossSumNats: fc.constantFrom(null, 1e3, -1) }).map(
    (share): Forgery =>
      (at) => ({ type: "contributed", at, ...share }),
  ),
  fc.nat({ max: 9 }).map(
    (microbatchesLost): Forgery =>
      (at) => ({ type: "source-done", at, microbatchesDone: 1, microbatchesLost }),
  ),
  fc.constant<Forgery>((at) => ({ type: "failed", at, failure })),
);

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant("join" as const), miner }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant("everyone-answers" as const) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("answer" as const), miner }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("leave" as const, "lose" as const), miner }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("deadline" as const, "early-deadline" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("restart" as const, "evaluate" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("retarget" as const), targetTokens: fc.constantFrom(null, 500, 9000) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("steer" as const),
      action: fc.constantFrom("pause" as const, "resume" as const, "resume" as const, "finish" as const),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("forge" as const), miner, message: forged, stale: fc.boolean() }),
  },
);

function carryOut(swarm: FakeSwarm, step: Command): void {
  switch (step.do) {
    case "join":
      swarm.join(Number.parseInt(step.miner, 16));
      break;
    case "answer": {
      const answer = swarm.honestAnswer(step.miner);
      if (answer) swarm.say(step.miner, answer);
      break;
    }
    case "everyone-answers":
      for (const minerId of rosterMembers(swarm.state)) carryOut(swarm, { do: "answer", miner: minerId });
      break;
    case "leave":
      swarm.say(step.miner, { type: "leave", reason: "" });
      break;
    case "lose":
      swarm.happen({ type: "session-closed", minerId: step.miner });
      break;
    case "deadline":
      if (nextDeadlineMs(swarm.state) !== null) swarm.runOutOfTime();
      break;
    case "early-deadline":
      swarm.happen({ type: "deadline" });
      break;
    case "restart":
      swarm.happen({ type: "restarted" });
      break;
    case "evaluate":
      swarm.happen({
        type: "evaluated",
        evaluation: { epoch: swarm.state.epoch, tokens: 1, validationLossNats: 1, validationTokens: 1, sample: null },
      });
      break;
    case "retarget":
      swarm.happen({ type: "retargeted", targetTokens: step.targetTokens });
      break;
    case "steer":
      swarm.happen({ type: "steered", action: step.action });
      break;
    case "forge": {
      const at = currentEpoch(swarm.state);
      swarm.say(step.miner, step.message(step.stale ? { ...at, attempt: at.attempt + 1 } : at));
      break;
    }
  }
}

function checkState(before: RunState, state: RunState): void {
  const members = new Set(state.members.map((member) => member.minerId));
  const present = rosterMembers(state);
  expect(members.size).toBe(state.members.length);
  expect(new Set(present).size).toBe(present.length);
  expect(present.every((minerId) => members.has(minerId))).toBe(true);
  // Work goes on only where every stage has somebody; between epochs nobody is on the roster.
  const { phase } = state;
  if (phase.name === "waiting" || phase.name === "paused" || phase.name === "finished") expect(present).toEqual([]);
  else if (phase.name !== "merging") expect(state.roster.stages.every((replicas) => replicas.length > 0)).toBe(true);
  // A phase that waits for answers ends by itself.
  if (present.length > 0) expect(phase.deadlineMs).not.toBeNull();
  expect(state.tokens).toBeGreaterThanOrEqual(before.tokens);
  expect(state.epoch).toBeGreaterThanOrEqual(before.epoch);
  expect(state.roster.version).toBeGreaterThanOrEqual(before.roster.version);
  expect(state.epochs).toHaveLength(state.epoch);
  expect(state.checkpoint?.epoch ?? 0).toBe(state.epoch);
  expect(state.checkpoint?.tokens ?? 0).toBe(state.tokens);
}

describe("any order of events", () => {
  it("keeps the run consistent, its credits balanced and its messages well-formed; replaying the log gives the same state", () => {
    let merged = 0;
    fc.assert(
      fc.property(fc.array(command, { minLength: 10, maxLength: 60, size: "max" }), (commands) => {
        const swarm = new FakeSwarm(definition);
        for (const step of commands) {
          swarm.nowMs += 100;
          const before = swarm.state;
          carryOut(swarm, step);
          checkState(before, swarm.state);
        }
        expect(runViewSchema.safeParse(viewOf(swarm.state)).error).toBeUndefined();
        const credited = swarm.effects.flatMap((one) => (one.type === "credit" ? [one.receipt.microCredits] : []));
        const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
        expect(sum(credited)).toBe(sum(Object.values(swarm.state.credits)));
        for (const effect of swarm.effects)
          if (effect.type === "send") expect(gatewayMessageSchema.safeParse(effect.message).error).toBeUndefined();
        merged += swarm.state.epoch;

        const stored = JSON.parse(JSON.stringify(swarm.events)) as typeof swarm.events;
        const replayed = stored.reduce((state, event) => apply(state, event).state, createRun(definition, fakeStartMs));
        expect(replayed).toEqual(swarm.state);
        expect(JSON.parse(JSON.stringify(replayed))).toEqual(replayed);
      }),
      { numRuns: 1000, seed: 20_260_101 },
    );
    // The events are not all rejected: epochs do get through.
    expect(merged).toBeGreaterThan(300);
  });
});
