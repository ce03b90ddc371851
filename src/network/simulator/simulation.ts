/**
 * A swarm in virtual time: the orchestrator's own core is told what virtual miners do, and they are told what it says. Nothing here
 * looks at a clock or draws a lot that the scenario does not seed: a scenario has one outcome.
 */
import { presets } from "../../compute/model/presets.ts";
import { assertNever } from "../../protocol/assert-never.ts";
import { hashBytes } from "../../protocol/identity.ts";
import { type MinerId, type PlaceRef, runIdSchema, sameEpoch } from "../../protocol/ids.ts";
import { apply } from "../orchestrator/core/apply.ts";
import { defaultTimeouts, planStages, type RunDefinition } from "../orchestrator/core/definition.ts";
import type { Effect, OrchestratorMessage, RunEvent } from "../orchestrator/core/event.ts";
import { createRun, nextDeadlineMs, type RunState } from "../orchestrator/core/state.ts";
import { EventQueue } from "./event-queue.ts";
import { RandomStream } from "./random-stream.ts";
import type { Scenario } from "./scenario.ts";
import { type Outcome, Tally } from "./tally.ts";
import { Training } from "./training.ts";
import { type Trouble, Troubles } from "./troubles.ts";
import { type Answer, type Report, VirtualMiner } from "./virtual-miner.ts";

/** When the virtual day begins. */
const startMs = Date.UTC(2026, 0, 1);
const msPerHour = 3_600_000;
/** Everybody arrives within so long. */
const arrivalMs = 60_000;

type Planned =
  | { readonly type: "arrival"; readonly miner: VirtualMiner }
  | { readonly type: "trouble"; readonly miner: VirtualMiner; readonly trouble: Trouble }
  | { readonly type: "full-speed"; readonly miner: VirtualMiner }
  | { readonly type: "report"; readonly miner: VirtualMiner; readonly session: number; readonly report: Report };

/** Leaves `atMs` to the simulation's clock. */
type Happening = RunEvent extends infer E ? (E extends RunEvent ? Omit<E, "atMs"> : never) : never;

export interface SimulationOptions {
  /** Is shown the state before and after each event. */
  readonly onEvent?: (before: RunState, after: RunState, event: RunEvent) => void;
}

/** Throws `RangeError` when the scenario's model cannot be cut into as many stages. */
export function simulate(scenario: Scenario, options: SimulationOptions = {}): Outcome {
  return new Simulation(scenario, options).run();
}

class Simulation {
  readonly #scenario: Scenario;
  readonly #options: SimulationOptions;
  readonly #queue = new EventQueue<Planned>();
  readonly #miners = new Map<MinerId, VirtualMiner>();
  readonly #troubles = new Map<MinerId, Troubles>();
  readonly #tally = new Tally(startMs);
  #state: RunState;
  #nowMs = startMs;
  #training: Training | null = null;

  constructor(scenario: Scenario, options: SimulationOptions) {
    this.#scenario = scenario;
    this.#options = options;
    this.#state = createRun(definitionOf(scenario), startMs);
    const run = { ...this.#state, activationCompression: scenario.activationCompression };
    const arrivals = new RandomStream(scenario.seed, "arrivals");
    const machines = new RandomStream(scenario.seed, "machines");
    for (let index = 0; index < scenario.miners; index++) {
      const miner = new VirtualMiner(index, drawMachine(scenario, machines), run);
      this.#miners.set(miner.minerId, miner);
      this.#troubles.set(miner.minerId, new Troubles(scenario.seed, index, scenario.disturbances));
      this.#queue.plan(startMs + arrivals.uniform() * arrivalMs, { type: "arrival", miner });
      this.#planTrouble(miner);
    }
  }

  run(): Outcome {
    const endMs = startMs + this.#scenario.hours * msPerHour;
    for (;;) {
      const plannedMs = this.#queue.nextMs ?? Number.POSITIVE_INFINITY;
      const deadlineMs = nextDeadlineMs(this.#state) ?? Number.POSITIVE_INFINITY;
      const doneMs = this.#training?.nextDoneMs() ?? Number.POSITIVE_INFINITY;
      const atMs = Math.min(plannedMs, deadlineMs, doneMs);
      if (atMs > endMs) return this.#tally.outcome(this.#state, this.#scenario.hours);
      this.#nowMs = Math.max(this.#nowMs, atMs);
      if (doneMs === atMs) this.#finishSource();
      else if (plannedMs === atMs) this.#carryOut(this.#queue.take());
      else this.#happen({ type: "deadline" });
    }
  }

  #happen(event: Happening): void {
    const whole = { ...event, atMs: Math.ceil(this.#nowMs) } as RunEvent;
    const before = this.#state;
    const { state, effects } = apply(before, whole);
    this.#state = state;
    this.#tally.count(before, state, effects);
    this.#options.onEvent?.(before, state, whole);
    for (const effect of effects) if (effect.type === "send") this.#deliver(effect);
  }

  #carryOut(planned: Planned | undefined): void {
    switch (planned?.type) {
      case undefined:
        break;
      case "arrival":
        this.#arrive(planned.miner);
        break;
      case "trouble":
        this.#interrupt(planned.miner, planned.trouble);
        break;
      case "full-speed":
        this.#slowDown(planned.miner, 1);
        break;
      case "report":
        if (planned.miner.session === planned.session && planned.miner.stillSays(planned.report))
          this.#say(planned.miner, planned.report);
        break;
      default:
        assertNever(planned);
    }
  }

  #arrive(miner: VirtualMiner): void {
    miner.isOnline = true;
    this.#say(miner, { type: "join", device: miner.device, held: miner.held });
  }

  #interrupt(miner: VirtualMiner, { kind, lastsMs }: Trouble): void {
    this.#planTrouble(miner);
    if (!miner.isOnline) return;
    this.#tally.interruptions[kind]++;
    const { disturbances } = this.#scenario;
    if (kind === "slowdowns") {
      this.#slowDown(miner, disturbances.slowdowns.factor);
      this.#queue.plan(this.#nowMs + lastsMs, { type: "full-speed", miner });
      return;
    }
    this.#training?.pause(miner.minerId, this.#nowMs);
    miner.disconnect(kind === "sleeps");
    if (kind === "leaves") this.#say(miner, { type: "leave", reason: "" });
    this.#happen({ type: "session-closed", minerId: miner.minerId });
    this.#queue.plan(this.#nowMs + lastsMs, { type: "arrival", miner });
  }

  #slowDown(miner: VirtualMiner, slowness: number): void {
    miner.slowness = slowness;
    this.#training?.changeSpeed(miner, this.#nowMs);
  }

  #planTrouble(miner: VirtualMiner): void {
    const trouble = this.#troubles.get(miner.minerId)?.next();
    if (trouble) this.#queue.plan(this.#nowMs + trouble.waitMs, { type: "trouble", miner, trouble });
  }

  #say(miner: VirtualMiner, message: Extract<RunEvent, { type: "message" }>["message"]): void {
    this.#happen({ type: "message", from: miner.minerId, name: miner.name, message });
  }

  #deliver({ to, message }: Extract<Effect, { type: "send" }>): void {
    const miner = this.#miners.get(to);
    if (!miner?.isOnline) return;
    switch (message.type) {
      case "idle":
        miner.rest();
        break;
      case "start":
        this.#start(miner, message);
        break;
      case "roster":
        break;
      default: {
        const tokens = this.#training?.tokensOf(message.at, to, this.#nowMs) ?? 0;
        if (message.type === "upload") this.#training?.end(message.at);
        this.#answer(miner, miner.take(message, tokens));
      }
    }
  }

  #start(miner: VirtualMiner, { at, roster }: Extract<OrchestratorMessage, { type: "start" }>): void {
    if (!miner.holds(at)) return;
    if (this.#training === null || !sameEpoch(this.#training.at, at))
      this.#training = new Training(
        at,
        roster,
        this.#miners,
        this.#state.definition,
        this.#scenario.latencyMs,
        this.#nowMs,
      );
    miner.train(at);
    this.#training.resume(miner.minerId, this.#nowMs);
    // It may have been done before it was away, or has no share at all.
    if (at.stage === 0 && this.#training.isDone(miner.minerId)) this.#reportDone(miner, at);
  }

  #finishSource(): void {
    const minerId = this.#training?.takeDone(this.#nowMs);
    const miner = minerId && this.#miners.get(minerId);
    if (miner && this.#training) this.#reportDone(miner, { ...this.#training.at, stage: 0 });
  }

  #reportDone(miner: VirtualMiner, at: PlaceRef): void {
    const microbatchesDone = this.#training?.microbatchesOf(miner.minerId) ?? 0;
    this.#answer(miner, {
      afterMs: 0,
      reports: [{ type: "source-done", at, microbatchesDone, microbatchesLost: 0 }],
    });
  }

  #answer(miner: VirtualMiner, answer: Answer | null): void {
    if (answer === null) return;
    const atMs = this.#nowMs + 2 * this.#scenario.latencyMs + answer.afterMs;
    for (const report of answer.reports)
      this.#queue.plan(atMs, { type: "report", miner, session: miner.session, report });
  }
}

function definitionOf({ run, seed }: Scenario): RunDefinition {
  const { model, training, tokenizer } = presets[run.preset];
  const { stages, minimumReplicas, sequencesPerMicrobatch, microbatchesPerStep, stepsPerEpoch } = run;
  const largestStage = Math.max(...planStages({ model, stages }).map(({ parameters }) => parameters));
  return {
    runId: runIdSchema.parse("simulated"),
    name: "Simulated run",
    preset: run.preset,
    model,
    training: { ...training, sequencesPerMicrobatch, microbatchesPerStep, stepsPerEpoch, seed },
    tokenizer,
    dataset: { manifest: { hash: hashBytes(Buffer.from("simulated")), bytes: 0 } },
    stages,
    minimumReplicas,
    targetTokens: null,
    timeouts: defaultTimeouts(largestStage),
  };
}

function drawMachine({ machines, spread }: Scenario, random: RandomStream): VirtualMiner["machine"] {
  const kind = machines[random.choose(machines.map(({ share }) => share))];
  if (kind === undefined) throw new RangeError("a scenario needs a kind of machine");
  const speed = random.logNormal(1, spread);
  const link = random.logNormal(1, spread);
  return {
    memoryBytes: kind.memoryBytes,
    gigaflops: kind.gigaflops * speed,
    uplinkBytesPerSecond: kind.uplinkBytesPerSecond * link,
    downlinkBytesPerSecond: kind.downlinkBytesPerSecond * link,
  };
}
