/** A run among fake miners, for tests: what the core says reaches them at once, and they answer one message at a time. */
import { presets } from "../../../compute/model/presets.ts";
import type { DeviceReport } from "../../../protocol/device-report.ts";
import { type MinerId, minerIdSchema, runIdSchema } from "../../../protocol/ids.ts";
import type { StageNeed } from "../placement/placement.ts";
import { stageNeeds } from "../placement/stage-needs.ts";
import { apply } from "./apply.ts";
import { defaultTimeouts, type RunDefinition } from "./definition.ts";
import type { Effect, MinerMessage, OrchestratorMessage, RunEvent } from "./event.ts";
import { FakeMiner, fakeHash, type Report } from "./fake-miner.ts";
import { createRun, nextDeadlineMs, type RunState } from "./state.ts";

export { fakeHash } from "./fake-miner.ts";

export const fakeStartMs = 1_700_000_000_000;

export function fakeMiner(index: number): MinerId {
  return minerIdSchema.parse(index.toString(16).padStart(64, "0"));
}

export function fakeDefinition(part: Partial<RunDefinition> = {}): RunDefinition {
  return {
    runId: runIdSchema.parse("test-run"),
    name: "Test run",
    preset: "tiny",
    model: presets.tiny.model,
    training: presets.tiny.training,
    tokenizer: "bytes",
    dataset: { manifest: { hash: fakeHash("manifest"), bytes: 1 } },
    stages: 3,
    minimumReplicas: 2,
    targetTokens: null,
    timeouts: defaultTimeouts(0),
    ...part,
  };
}

/** With memory for so many of the run's stages. */
export function fakeDevice(definition: RunDefinition, stages = 1): DeviceReport {
  return deviceFor(stageNeeds(definition), stages);
}

function deviceFor(needs: readonly StageNeed[], stages: number): DeviceReport {
  const largest = Math.max(...needs.map(({ memoryBytes }) => memoryBytes));
  return {
    platform: "test",
    cpu: "test",
    cores: 1,
    memoryBytes: 1 << 30,
    memoryLimitBytes: stages * largest,
    maximumStages: 64,
    backend: "reference",
    precision: "f32",
    adapter: null,
    blockTokensPerSecond: null,
  };
}

/** Leaves `atMs` to the swarm's clock. */
type Happening = RunEvent extends infer E ? (E extends RunEvent ? Omit<E, "atMs"> : never) : never;

export class FakeSwarm {
  readonly initial: RunState;
  state: RunState;
  nowMs = fakeStartMs;
  readonly events: RunEvent[] = [];
  readonly effects: Effect[] = [];
  readonly #definition: RunDefinition;
  readonly #miners = new Map<MinerId, FakeMiner>();
  /** Messages to these miners are lost. */
  readonly unreachable = new Set<MinerId>();

  constructor(definition: RunDefinition = fakeDefinition()) {
    this.#definition = definition;
    this.initial = createRun(definition, fakeStartMs);
    this.state = this.initial;
  }

  /** Returns the effects of this event alone. */
  happen(event: Happening): readonly Effect[] {
    const whole = { ...event, atMs: this.nowMs } as RunEvent;
    const { state, effects } = apply(this.state, whole);
    this.state = state;
    this.events.push(whole);
    this.effects.push(...effects);
    for (const effect of effects)
      if (effect.type === "send" && !this.unreachable.has(effect.to)) this.miner(effect.to).take(effect.message);
    return effects;
  }

  say(from: MinerId, message: MinerMessage): readonly Effect[] {
    return this.happen({ type: "message", from, name: `miner ${Number.parseInt(from, 16)}`, message });
  }

  miner(minerId: MinerId): FakeMiner {
    const miner = this.#miners.get(minerId) ?? new FakeMiner(minerId, this.#definition, this.state.needs);
    this.#miners.set(minerId, miner);
    return miner;
  }

  /** With memory for one stage each. */
  join(...indices: readonly number[]): void {
    for (const index of indices) this.joinWith(index, deviceFor(this.state.needs, 1));
  }

  joinWith(index: number, device: DeviceReport): readonly Effect[] {
    const minerId = fakeMiner(index);
    return this.say(minerId, { type: "join", device, held: this.miner(minerId).held });
  }

  /** The miner's session ends. Its process may be started anew with `miner(…).forget()`. */
  lose(...indices: readonly number[]): void {
    for (const index of indices) this.happen({ type: "session-closed", minerId: fakeMiner(index) });
  }

  /** The miner's session ends, and its grace passes. */
  loseForGood(...indices: readonly number[]): readonly Effect[] {
    this.lose(...indices);
    for (const index of indices) this.miner(fakeMiner(index)).forget();
    this.nowMs += this.#definition.timeouts.graceMs;
    return this.happen({ type: "deadline" });
  }

  /** Lets time pass until something happens by itself. */
  runOutOfTime(): readonly Effect[] {
    const deadlineMs = nextDeadlineMs(this.state);
    if (deadlineMs === null) throw new Error(`${this.state.phase.name} has no deadline`);
    this.nowMs = Math.max(this.nowMs, deadlineMs);
    return this.happen({ type: "deadline" });
  }

  /** The miner says all that it has to say. */
  answer(minerId: MinerId): void {
    for (const report of this.miner(minerId).reports()) this.say(minerId, report);
  }

  /** What a miner has to say in its only place; fails when that is something else. */
  report<T extends Report["type"]>(index: number, type: T): Extract<Report, { type: T }> {
    const [report] = this.miner(fakeMiner(index)).reports();
    if (report?.type !== type) throw new Error(`expected ${type}, not ${report?.type}`);
    return report as Extract<Report, { type: T }>;
  }

  /** Honest answers, second after second, until the run reaches `phase`. */
  reach(phase: RunState["phase"]["name"], silent: readonly MinerId[] = []): void {
    this.proceed(() => this.state.phase.name === phase, silent);
  }

  /** Trains and merges the current epoch. */
  finishEpoch(silent: readonly MinerId[] = []): void {
    const { epoch } = this.state;
    this.proceed(() => this.state.epoch !== epoch, silent);
  }

  /** Stores what is merged by now, while nothing else happens. */
  finishUpload(): void {
    const { epoch } = this.state;
    for (let round = 0; (this.state.checkpoint?.epoch ?? 0) < epoch; round++) {
      if (round > 20) throw new Error(`epoch ${epoch}'s start is not stored`);
      for (const { minerId } of this.state.members)
        for (const report of this.miner(minerId).reports())
          if (report.type === "snapshot" || report.type === "stored") this.say(minerId, report);
    }
  }

  proceed(isReached: () => boolean, silent: readonly MinerId[] = []): void {
    for (let round = 0; !isReached(); round++) {
      if (round > 200) throw new Error(`the run stays ${this.state.phase.name}`);
      this.nowMs += 1000;
      const deadlineMs = nextDeadlineMs(this.state);
      if (deadlineMs !== null && this.nowMs >= deadlineMs) this.happen({ type: "deadline" });
      for (const { minerId } of this.state.members)
        for (const report of silent.includes(minerId) ? [] : this.miner(minerId).reports()) {
          if (isReached()) return;
          this.say(minerId, report);
        }
    }
  }

  /** Messages sent so far of one type, with their receivers. */
  sent<T extends OrchestratorMessage["type"]>(type: T, effects: readonly Effect[] = this.effects) {
    return effects.flatMap((effect) =>
      effect.type === "send" && effect.message.type === type
        ? [{ to: effect.to, message: effect.message as Extract<OrchestratorMessage, { type: T }> }]
        : [],
    );
  }
}
