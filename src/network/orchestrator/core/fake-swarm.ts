/** Miners as the core sees them, for tests: they answer honestly, one message at a time, unless a test says otherwise. */
import { optimizerStateLength } from "../../../compute/model/optimizer-state.ts";
import { presets } from "../../../compute/model/presets.ts";
import { hashBytes } from "../../../protocol/identity.ts";
import { type BlobRef, type MinerId, minerIdSchema, runIdSchema } from "../../../protocol/ids.ts";
import { apply } from "./apply.ts";
import { defaultTimeouts, type RunDefinition, tokensPerSource } from "./definition.ts";
import type { Effect, MinerMessage, OrchestratorMessage, RunEvent } from "./event.ts";
import { createRun, currentEpoch, nextDeadlineMs, type RunState, rosterMembers } from "./state.ts";

export const fakeStartMs = 1_700_000_000_000;

export function fakeMiner(index: number): MinerId {
  return minerIdSchema.parse(index.toString(16).padStart(64, "0"));
}

export function fakeHash(text: string) {
  return hashBytes(Buffer.from(text));
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

const device = {
  platform: "test",
  cpu: "test",
  cores: 1,
  memoryBytes: 1,
  memoryLimitBytes: 1,
  backend: "reference",
  precision: "f32",
  adapter: null,
  blockTokensPerSecond: null,
} as const;

/** Leaves `atMs` to the swarm's clock. */
type Happening = RunEvent extends infer E ? (E extends RunEvent ? Omit<E, "atMs"> : never) : never;

export class FakeSwarm {
  state: RunState;
  nowMs = fakeStartMs;
  readonly events: RunEvent[] = [];
  readonly effects: Effect[] = [];

  constructor(definition: RunDefinition = fakeDefinition()) {
    this.state = createRun(definition, fakeStartMs);
  }

  /** Returns the effects of this event alone. */
  happen(event: Happening): readonly Effect[] {
    const whole = { ...event, atMs: this.nowMs } as RunEvent;
    const { state, effects } = apply(this.state, whole);
    this.state = state;
    this.events.push(whole);
    this.effects.push(...effects);
    return effects;
  }

  say(from: MinerId, message: MinerMessage): readonly Effect[] {
    return this.happen({ type: "message", from, name: `miner ${Number.parseInt(from, 16)}`, message });
  }

  join(...indices: readonly number[]): void {
    for (const index of indices) this.say(fakeMiner(index), { type: "join", device });
  }

  /** Lets time pass until the phase's deadline, and a moment more. */
  runOutOfTime(): readonly Effect[] {
    const deadlineMs = nextDeadlineMs(this.state);
    if (deadlineMs === null) throw new Error(`${this.state.phase.name} has no deadline`);
    this.nowMs = Math.max(this.nowMs, deadlineMs);
    return this.happen({ type: "deadline" });
  }

  /** Honest answers, round after round, until the run reaches `phase`. */
  reach(phase: RunState["phase"]["name"], silent: readonly MinerId[] = []): void {
    for (let round = 0; this.state.phase.name !== phase; round++) {
      if (round > 20) throw new Error(`the run stays ${this.state.phase.name}`);
      this.nowMs += 1000;
      for (const minerId of rosterMembers(this.state)) {
        if (this.state.phase.name === phase) return;
        const answer = silent.includes(minerId) ? undefined : this.honestAnswer(minerId);
        if (answer !== undefined) this.say(minerId, answer);
      }
    }
  }

  /** Trains and merges the current epoch. */
  finishEpoch(silent: readonly MinerId[] = []): void {
    const { epoch } = this.state;
    if (this.state.phase.name !== "merging") this.reach("merging", silent);
    for (let round = 0; this.state.epoch === epoch; round++) {
      if (round > 20) throw new Error("the merge does not end");
      for (const minerId of rosterMembers(this.state)) {
        const answer = silent.includes(minerId) ? undefined : this.honestAnswer(minerId);
        if (answer !== undefined && this.state.epoch === epoch) this.say(minerId, answer);
      }
    }
  }

  /** What an honest replica says next; undefined when it has nothing to say. */
  honestAnswer(minerId: MinerId): MinerMessage | undefined {
    const { phase, roster, checkpoint } = this.state;
    const at = currentEpoch(this.state);
    const stage = roster.stages.findIndex((replicas) => replicas.includes(minerId));
    if (stage === -1) return undefined;
    switch (phase.name) {
      case "preparing":
        return {
          type: "ready",
          at,
          weightsHash: checkpoint?.stages[stage]?.weights.hash ?? fakeHash(`initial ${stage}`),
        };
      case "training":
        return stage === 0 ? { type: "source-done", at, microbatchesDone: 4, microbatchesLost: 0 } : undefined;
      case "uploading":
        return {
          type: "contributed",
          at,
          blob: this.stageBlob(stage, `contribution ${minerId} ${at.epoch}`),
          tokens: tokensPerSource(this.state.definition),
          lossSumNats: stage === this.state.stages.length - 1 ? 2 * tokensPerSource(this.state.definition) : null,
        };
      case "merging": {
        const merged = this.mergedWeights(stage);
        const merge = phase.stages[stage];
        if (merge?.step === "agreed" && merge.asked === minerId)
          return { type: "stored", at, weights: merged, optimizer: this.optimizerBlob(stage) };
        return { type: "merged", at, weightsHash: merged.hash };
      }
      default:
        return undefined;
    }
  }

  optimizerBlob(stage: number): BlobRef {
    const { definition, stages } = this.state;
    const length = optimizerStateLength(definition.training.mode, stages[stage]?.parameters ?? 0);
    return { hash: fakeHash("optimizer"), bytes: 4 * length };
  }

  mergedWeights(stage: number): BlobRef {
    return this.stageBlob(stage, `merged ${stage} ${this.state.epoch} ${this.state.attempt}`);
  }

  stageBlob(stage: number, content: string): BlobRef {
    return { hash: fakeHash(content), bytes: (this.state.stages[stage]?.parameters ?? 0) * 4 };
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
