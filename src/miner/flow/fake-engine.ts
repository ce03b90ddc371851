/** For tests: a compute engine whose sums are easy to follow. Every trained microbatch moves the weights by one. */
import { encodeRows } from "../../compute/codec/rows.ts";
import { decodeVector, encodeVector } from "../../compute/codec/vector.ts";
import { type AverageRequest, CompressedMerge } from "../../compute/merge/compressed-merge.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import { planStageMemory } from "../../compute/model/memory-plan.ts";
import { channelsBefore } from "../../compute/model/parts.ts";
import type {
  ComputeArguments,
  ComputeMethod,
  ComputeResult,
  GradientFormat,
  OpenOptions,
  SliceRange,
  StageInput,
} from "../../compute/worker-protocol.ts";
import { FailureError } from "../../protocol/failure.ts";
import { bytesOf, hashBytes } from "../../protocol/identity.ts";
import type { RowFormat } from "../../protocol/run-config.ts";
import type { ComputeEngine, EngineSource } from "../compute-host/compute-worker.ts";
import { FakeStepExchange } from "../exchange/fake-step-exchange.ts";

export class FakeEngine implements ComputeEngine {
  readonly calls: ComputeMethod[] = [];
  /** The calls that concern one microbatch, and the steps, in the order in which they were answered. */
  readonly history: { readonly method: ComputeMethod; readonly microbatch: number | null }[] = [];
  readonly exchange = new FakeStepExchange();
  /** Returns the failure of the next call, if it shall fail. */
  failing: (method: ComputeMethod, call: number) => FailureError | null;
  readonly #turnsPerCall: () => number;
  #options: OpenOptions | null = null;
  #weights = new Float32Array(0);
  #merged = new Float32Array(0);
  readonly #kept = new Map<string, number>();
  #pending = 0;
  #pendingTokens = 0;
  #moved = 0;
  #tokens = 0;

  /** `turnsPerCall`: of the event loop that each call takes. */
  constructor(failing: FakeEngine["failing"] = () => null, turnsPerCall = () => 1) {
    this.failing = failing;
    this.#turnsPerCall = turnsPerCall;
  }

  /** Microbatches that wait for their gradient. */
  get kept(): readonly string[] {
    return [...this.#kept.keys()];
  }

  /** How far the weights have left the epoch's start. */
  get moved(): number {
    return this.#moved;
  }

  async call<M extends ComputeMethod>(method: M, ...args: ComputeArguments<M>): Promise<ComputeResult<M>> {
    for (let turn = 0; turn < this.#turnsPerCall(); turn++) await new Promise((resolve) => setImmediate(resolve));
    this.calls.push(method);
    const failure = this.failing(method, this.calls.filter((called) => called === method).length);
    if (failure !== null) throw failure;
    const answer = this.#answer(method, args[0]) as ComputeResult<M>;
    this.#record(method, args[0]);
    return answer;
  }

  /** That it is open for; null while it is not. */
  get stage(): number | null {
    return this.#options?.stage.index ?? null;
  }

  /** The microbatches whose gradients were added, in order. */
  get trained(): readonly number[] {
    return this.history.flatMap(({ method, microbatch }) =>
      (method === "backward" || method === "forwardBackward") && microbatch !== null ? [microbatch] : [],
    );
  }

  #record(method: ComputeMethod, argument: unknown): void {
    if (method === "step" || method === "stepDelta") this.history.push({ method, microbatch: null });
    if (method === "forward" || method === "backward" || method === "forwardBackward")
      this.history.push({ method, microbatch: Number((argument as { microbatch: string }).microbatch) });
  }

  #answer(method: ComputeMethod, argument: unknown): unknown {
    switch (method) {
      case "open":
        this.#options = argument as OpenOptions;
        this.#weights = new Float32Array(stageLayout(this.#options.model, this.#options.stage).length);
        this.#restart();
        return {
          device: { kind: "reference", name: "fake", threads: 1 },
          parameters: this.#weights.length,
          memory: planStageMemory(this.#options, { microbatchesInFlight: 1, workspaceBytes: 0 }),
        };
      case "load":
        this.#weights = Float32Array.from((argument as { weights: Float32Array }).weights);
        this.#restart();
        return undefined;
      case "state":
        return { weights: Float32Array.from(this.#weights), optimizer: new Float32Array(this.#optimizerLength()) };
      case "moments":
        return Uint8Array.of(1, 2, 3);
      case "epochStart":
        return Float32Array.from(this.#weights);
      case "forward": {
        const input = argument as StageInput & { send: { format: RowFormat } };
        if (this.#kept.has(input.microbatch)) throw new Error(`${input.microbatch} is kept already`);
        const rows = rowsOf(input);
        this.#kept.set(input.microbatch, rows);
        const activations = this.#payload(rows, this.#open().stage.toLayer, input.send.format);
        return { activations, boundary: { rms: 1, relativeError: 0 } };
      }
      case "forwardBackward": {
        const input = argument as StageInput & { send: GradientFormat | null };
        const rows = rowsOf(input);
        this.#train(rows);
        return { lossSumNats: 2 * rows, inputGradient: this.#inputGradient(rows, input.send) };
      }
      case "backward": {
        const { microbatch, send } = argument as { microbatch: string; send: GradientFormat | null };
        const rows = this.#kept.get(microbatch);
        if (rows === undefined) throw new Error(`${microbatch} is not kept`);
        this.#kept.delete(microbatch);
        this.#train(rows);
        return { inputGradient: this.#inputGradient(rows, send) };
      }
      case "discard":
        for (const microbatch of (argument as { microbatches: string[] }).microbatches) this.#kept.delete(microbatch);
        return undefined;
      case "step":
        return this.#step();
      case "stepDelta":
        return this.#stepDelta();
      case "applyExchange":
        return this.#applyExchange((argument as ComputeArguments<"applyExchange">[0]).contributions);
      case "contribution": {
        const { partitions } = argument as { partitions: readonly SliceRange[] };
        const moved = this.#moved + this.#syncPending();
        const codec = this.#open().training.compression.merge;
        const slices = partitions.map(({ length }) => encodeVector(new Float32Array(length).fill(moved), codec, 0));
        return { slices, tokens: this.#tokens + this.#syncTokens() };
      }
      case "average":
        return new CompressedMerge(this.#open().training, this.#weights.length).average(argument as AverageRequest);
      case "weightsHash":
        return hashBytes(bytesOf(this.#weights));
      case "beginMerge":
        this.#restart();
        this.#merged = new Float32Array(this.#weights.length);
        return undefined;
      case "mergeSlice": {
        const { from, length, payload } = argument as ComputeArguments<"mergeSlice">[0];
        this.#merged.set(decodeVector(payload, length), from);
        return undefined;
      }
      case "applyMerged":
        this.#weights = this.#weights.map((weight, index) => weight + (this.#merged[index] ?? 0));
        return undefined;
      default:
        throw new Error(`the fake engine has no ${method}`);
    }
  }

  #train(rows: number): void {
    this.#pending += 1;
    this.#pendingTokens += rows;
  }

  #step(): { tokens: number; gradientNorm: number } {
    const tokens = this.#pendingTokens;
    this.#moved += this.#pending;
    this.#tokens += tokens;
    this.#pending = 0;
    this.#pendingTokens = 0;
    return { tokens, gradientNorm: 1 };
  }

  #stepDelta(): ComputeResult<"stepDelta"> {
    const before = this.#moved;
    const { tokens, gradientNorm } = this.#step();
    if (tokens === 0) return { tokens, gradientNorm, parts: [] };
    const { training } = this.#open();
    const parts = this.exchange.move(this.#moved - before, this.#weights.length, training);
    return { tokens, gradientNorm, parts };
  }

  #applyExchange(contributions: ComputeArguments<"applyExchange">[0]["contributions"]) {
    const { correction, ...average } = this.exchange.average(contributions, this.#weights.length);
    this.#moved += correction;
    return average;
  }

  #restart(): void {
    this.#kept.clear();
    this.#pending = this.#pendingTokens = this.#moved = this.#tokens = 0;
    this.exchange.restart();
  }

  #syncPending(): number {
    return this.#open().training.mode === "sync" ? this.#pending : 0;
  }

  #syncTokens(): number {
    return this.#open().training.mode === "sync" ? this.#pendingTokens : 0;
  }

  #optimizerLength(): number {
    return (this.#open().training.mode === "sync" ? 2 : 3) * this.#weights.length + 1;
  }

  #inputGradient(rows: number, send: GradientFormat | null): Uint8Array | null {
    return send && this.#payload(rows, this.#open().stage.fromLayer, send.format);
  }

  /** Ones, as they cross the boundary before a layer. */
  #payload(rows: number, layer: number, format: RowFormat): Uint8Array {
    const shape = { rows, columns: channelsBefore(this.#open().model, layer) };
    return encodeRows(new Float32Array(rows * shape.columns).fill(1), shape, { format, noise: null });
  }

  #open(): OpenOptions {
    if (this.#options === null) throw new Error("the fake engine is not open");
    return this.#options;
  }
}

function rowsOf(input: StageInput): number {
  return "tokens" in input ? input.tokens.length : input.rows;
}

/** For tests: makes a fake engine whenever there is none, and lets it crash. */
export class FakeEngines implements EngineSource {
  readonly made: FakeEngine[] = [];
  failing: FakeEngine["failing"] = () => null;
  /** How slow it is. */
  turnsPerCall = 1;
  #live: FakeEngine | null = null;
  #onCrash: (explanation: string) => void = () => {};

  engine(): FakeEngine {
    if (this.#live === null) {
      this.#live = new FakeEngine(
        (method, call) => this.failing(method, call),
        () => this.turnsPerCall,
      );
      this.made.push(this.#live);
    }
    return this.#live;
  }

  discard(): void {
    this.#live = null;
  }

  readonly pids = [];
  isClosed = false;

  async close(): Promise<void> {
    this.isClosed = true;
    this.#live = null;
  }

  onCrash(handler: (explanation: string) => void): void {
    this.#onCrash = handler;
  }

  crash(): void {
    const dead = this.#live;
    this.#live = null;
    if (dead !== null) dead.failing = () => new FailureError("compute-crashed", "The fake worker is dead.");
    this.#onCrash("The fake worker crashed.");
  }
}
