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
  { weight: 30, arbitrary: fc.record({ do: fc.constant("everyone-answers" as const) }) },
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

/** The rules that a step broke, by name. */
function brokenRules(before: RunState, state: RunState): string[] {
  const members = new Set(state.members.map((member) => member.minerId));
  const present = rosterMembers(state);
  const { phase, checkpoint } = state;
  const resting = phase.name === "waiting" || phase.name === "paused" || phase.name === "finished";
  const covered = state.roster.stages.every((replicas) => replicas.length > 0);
  const rules = {
    "a miner is a member once": members.size === state.members.length,
    "a miner is on the roster once": new Set(present).size === present.length,
    "only members are on the roster": present.every((minerId) => members.has(minerId)),
    "between epochs nobody is on the roster": !resting || present.length === 0,
    "work goes on only where every stage has somebody": resting || phase.name === "merging" || covered,
    "a phase that waits for answers ends by itself": resting || phase.deadlineMs !== null,
    "tokens never fall": state.tokens >= before.tokens,
    "epochs never go back": state.epoch >= before.epoch,
    "rosters are numbered upwards": state.roster.version >= before.roster.version,
    "every epoch is on record": state.epochs.length === state.epoch,
    "the checkpoint is the last epoch's": (checkpoint?.epoch ?? 0) === state.epoch,
    "the checkpoint has all tokens": (checkpoint?.tokens ?? 0) === state.tokens,
  };
  return Object.entries(rules).flatMap(([rule, holds]) => (holds ? [] : [rule]));
}

describe("any order of events", () => {
  it("keeps the run consistent, its credits balanced and its messages well-formed; replaying the log gives the same state", () => {
    let merged = 0;
    fc.assert(
      fc.property(fc.array(command, { minLength: 20, maxLength: 80, size: "max" }), (commands) => {
        const swarm = new FakeSwarm(definition);
        for (const step of commands) {
          swarm.nowMs += 100;
          const before = swarm.state;
          carryOut(swarm, step);
          const broken = brokenRules(before, swarm.state);
          if (broken.length > 0) throw new Error(`after ${step.do}: ${broken.join("; ")}`);
        }
        runViewSchema.parse(viewOf(swarm.state));
        const credited = swarm.effects.flatMap((one) => (one.type === "credit" ? [one.receipt.microCredits] : []));
        const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
        expect(sum(credited)).toBe(sum(Object.values(swarm.state.credits)));
        for (const effect of swarm.effects) if (effect.type === "send") gatewayMessageSchema.parse(effect.message);
        merged += swarm.state.epoch;

        const stored = JSON.parse(JSON.stringify(swarm.events)) as typeof swarm.events;
        const replayed = stored.reduce((state, event) => apply(state, event).state, createRun(definition, fakeStartMs));
        expect(replayed).toEqual(swarm.state);
        expect(JSON.parse(JSON.stringify(replayed))).toEqual(replayed);
      }),
      { numRuns: 1500, seed: 20_260_101 },
    );
    // The events are not all rejected: epochs do get through.
    expect(merged).toBeGreaterThan(500);
  });
});
