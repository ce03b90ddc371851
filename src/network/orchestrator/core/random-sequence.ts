/**
 * Random sequences of what can happen to a run, for tests and benchmarks: honest miners, miners that lie, die, come back or start
 * anew, messages that are lost, doubled, late or forged, an orchestrator that is started again, owners that change their minds.
 */
import fc from "fast-check";
import { type GatewayMessage, gatewayMessageSchema } from "../../../protocol/gateway-messages.ts";
import { runViewSchema } from "../../../protocol/run-view.ts";
import { apply } from "./apply.ts";
import type { MinerMessage, OrchestratorMessage } from "./event.ts";
import { fakeAccusation } from "./fake-accusation.ts";
import type { Report } from "./fake-miner.ts";
import { FakeSwarm, fakeDefinition, fakeDevice, fakeHash, fakeMiner } from "./fake-swarm.ts";
import { brokenRules } from "./rules.ts";
import { nextDeadlineMs, placeRef, type RunState } from "./state.ts";
import { viewOf } from "./view.ts";

const definition = fakeDefinition({ stages: 2, minimumReplicas: 2, targetTokens: 4000 });
const small = fakeDevice(definition, 1);
const large = fakeDevice(definition, 2);
/** Every third has room for both stages. */
const deviceOf = (miner: number) => (miner % 3 === 0 ? large : small);
const miners = 7;

/** Everything but from where. */
type Forgery = (at: ReturnType<typeof placeRef>) => MinerMessage;

type Command =
  | {
      readonly do: "join" | "answer" | "unheard-answer" | "lie" | "leave" | "lose" | "start-anew";
      readonly miner: number;
    }
  | { readonly do: "everyone-answers" | "deadline" | "early-deadline" | "restart" | "evaluate" | "damage" }
  /** A message that came so many events ago comes again. */
  | { readonly do: "repeat"; readonly back: number }
  | { readonly do: "retarget"; readonly targetTokens: number | null }
  | { readonly do: "steer"; readonly action: "pause" | "resume" | "finish" }
  | {
      readonly do: "forge";
      readonly miner: number;
      readonly stage: number;
      readonly message: Forgery;
      readonly stale: boolean;
    };

const miner = fc.nat({ max: miners - 1 });
const hash = fc.constantFrom("a", "b").map(fakeHash);
const blob = fc.record({ hash, bytes: fc.constantFrom(0, 4, 40_000) });
const failure = { code: "compute-crashed", message: "crashed", action: "", retry: true } as const;
const slice = fc.record({
  partition: fc.nat({ max: 5 }),
  hash: fc.option(hash),
  missing: fc.array(fc.nat({ max: 8 }), { maxLength: 3 }),
});

const forgery: fc.Arbitrary<Forgery> = fc.oneof(
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
  fc
    .record({
      manifest: hash,
      tokens: fc.nat({ max: 5000 }),
      lossSumNats: fc.constantFrom(null, 1e3, -1),
      computeMs: fc.nat(),
      boundary: fc.constant(null),
    })
    .map(
      (share): Forgery =>
        (at) => ({ type: "contributed", at, ...share }),
    ),
  fc
    .record({ slices: fc.array(slice, { maxLength: 6 }), outliers: fc.array(miner.map(fakeMiner), { maxLength: 2 }) })
    .map(
      (reduced): Forgery =>
        (at) => ({ type: "reduced", at, ...reduced }),
    ),
  fc.nat({ max: 9 }).map(
    (microbatchesLost): Forgery =>
      (at) => ({ type: "source-done", at, microbatchesDone: 1, microbatchesLost }),
  ),
  fc.constant<Forgery>((at) => ({ type: "failed", at, failure })),
  miner.map((accused) => fakeAccusation(fakeMiner(accused))),
);

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant("join" as const), miner }) },
  { weight: 30, arbitrary: fc.record({ do: fc.constant("everyone-answers" as const) }) },
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constantFrom("answer" as const, "answer" as const, "unheard-answer" as const, "lie" as const),
      miner,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom("leave" as const, "lose" as const, "lose" as const, "start-anew" as const),
      miner,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("deadline" as const, "early-deadline" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constantFrom("restart" as const, "evaluate" as const, "damage" as const) }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("repeat" as const), back: fc.nat({ max: 60 }) }) },
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
    arbitrary: fc.record({
      do: fc.constant("forge" as const),
      miner,
      stage: fc.nat({ max: 2 }),
      message: forgery,
      stale: fc.boolean(),
    }),
  },
);

export interface RandomSequence {
  readonly commands: readonly Command[];
  /** After which part of the events a snapshot is taken. */
  readonly snapshotAt: number;
}

export const randomSequence: fc.Arbitrary<RandomSequence> = fc.record({
  commands: fc.array(command, { minLength: 20, maxLength: 80, size: "max" }),
  snapshotAt: fc.double({ min: 0, max: 1, noNaN: true }),
});

/** Throws, naming what is wrong, when a sequence breaks a rule. Returns what became of the run. */
export function checkSequence({ commands, snapshotAt }: RandomSequence): {
  readonly state: RunState;
  readonly events: number;
} {
  const swarm = new FakeSwarm(definition);
  const step = (name: string, work: () => void) => {
    const before = swarm.state;
    work();
    const broken = brokenRules(before, swarm.state);
    if (broken.length > 0) throw new Error(`after ${name}: ${broken.join("; ")}`);
  };
  for (const one of commands) {
    swarm.nowMs += 100;
    step(one.do, () => carryOut(swarm, one));
  }
  goOn(swarm, step);

  runViewSchema.parse(viewOf(swarm.state));
  checkMessages(swarm);
  const credited = swarm.effects.flatMap((one) => (one.type === "credit" ? [one.receipt.microCredits] : []));
  if (sum(credited) !== sum(Object.values(swarm.state.credits))) throw new Error("receipts and credits differ");
  checkReplay(swarm, Math.floor(snapshotAt * swarm.events.length));
  return { state: swarm.state, events: swarm.events.length };
}

/** A snapshot taken anywhere, written down and read again, leads to the same end by the events behind it. */
function checkReplay({ initial, events, state }: FakeSwarm, snapshotAt: number): void {
  const stored = JSON.parse(JSON.stringify(events)) as typeof events;
  const replay = (from: RunState, some: typeof events) =>
    some.reduce((before, event) => apply(before, event).state, from);
  const snapshot = JSON.stringify(replay(initial, stored.slice(0, snapshotAt)));
  const replayed = replay(JSON.parse(snapshot) as RunState, stored.slice(snapshotAt));
  if (JSON.stringify(replayed) !== JSON.stringify(state)) throw new Error(`replay from event ${snapshotAt} differs`);
}

/** One of each type: parsing all of them would take most of the time. */
function checkMessages({ effects }: FakeSwarm): void {
  const byType = new Map<string, OrchestratorMessage>();
  for (const effect of effects) if (effect.type === "send") byType.set(effect.message.type, effect.message);
  for (const message of byType.values()) {
    const isSigned = message.type === "start" || message.type === "roster";
    gatewayMessageSchema.parse(isSigned ? ({ ...message, signature: new Uint8Array(64) } as GatewayMessage) : message);
  }
}

/** Whatever happened before, the run advances again once everyone is there and answers, unless its owner ended it. */
function goOn(swarm: FakeSwarm, step: (name: string, work: () => void) => void): void {
  step("retarget", () => swarm.happen({ type: "retargeted", targetTokens: null }));
  step("resume", () => swarm.happen({ type: "steered", action: "resume" }));
  const { epoch } = swarm.state;
  for (let round = 0; swarm.state.epoch === epoch && swarm.state.phase.name !== "finished"; round++) {
    if (round > 50) throw new Error(`the run stays ${swarm.state.phase.name}`);
    swarm.nowMs += 5000;
    step("everyone-there", () => {
      for (let index = 0; index < miners; index++) {
        if (swarm.miner(fakeMiner(index)).reports().length === 0) swarm.joinWith(index, deviceOf(index));
        swarm.answer(fakeMiner(index));
      }
    });
    const deadlineMs = nextDeadlineMs(swarm.state);
    if (deadlineMs !== null && swarm.nowMs >= deadlineMs) step("deadline", () => swarm.happen({ type: "deadline" }));
  }
}

function carryOut(swarm: FakeSwarm, command: Command): void {
  switch (command.do) {
    case "join":
      swarm.joinWith(command.miner, deviceOf(command.miner));
      break;
    case "answer":
      swarm.answer(fakeMiner(command.miner));
      break;
    case "unheard-answer":
      for (let index = 0; index < miners; index++) swarm.unreachable.add(fakeMiner(index));
      swarm.answer(fakeMiner(command.miner));
      swarm.unreachable.clear();
      break;
    case "lie":
      for (const report of swarm.miner(fakeMiner(command.miner)).reports())
        swarm.say(fakeMiner(command.miner), lieOf(report));
      break;
    case "everyone-answers":
      for (const { minerId } of swarm.state.members) swarm.answer(minerId);
      break;
    case "leave":
      swarm.miner(fakeMiner(command.miner)).forget();
      swarm.say(fakeMiner(command.miner), { type: "leave", reason: "" });
      break;
    case "lose":
      swarm.lose(command.miner);
      break;
    case "start-anew":
      swarm.lose(command.miner);
      swarm.miner(fakeMiner(command.miner)).forget();
      swarm.joinWith(command.miner, deviceOf(command.miner));
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
    case "damage":
      swarm.happen({ type: "checkpoint-damaged" });
      break;
    case "repeat": {
      const event = swarm.events.at(-1 - command.back);
      if (event?.type === "message") swarm.say(event.from, event.message);
      break;
    }
    case "retarget":
      swarm.happen({ type: "retargeted", targetTokens: command.targetTokens });
      break;
    case "steer":
      swarm.happen({ type: "steered", action: command.action });
      break;
    case "forge": {
      const at = placeRef(swarm.state, command.stage);
      swarm.say(fakeMiner(command.miner), command.message(command.stale ? { ...at, attempt: at.attempt + 1 } : at));
      break;
    }
  }
}

/** What the miner had to say, with other hashes, or as if the first contributor's slices had been missing. */
function lieOf(report: Report): Report {
  if (report.type === "reduced") {
    const slices = report.slices.map((one) =>
      one.partition % 2 === 0 ? { ...one, hash: fakeHash(`lie ${one.partition}`) } : { ...one, missing: [0] },
    );
    return { ...report, slices };
  }
  if (report.type === "ready" || report.type === "merged") return { ...report, weightsHash: fakeHash("lie") };
  if (report.type === "stored") return { ...report, weights: { ...report.weights, hash: fakeHash("lie") } };
  return report;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
