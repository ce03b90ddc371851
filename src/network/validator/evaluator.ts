/**
 * Finds out what each checkpoint is worth: joins its stages to the whole model in a compute worker of low priority, measures
 * the loss on text that nobody trains on, and lets the model write. Runs take turns; of each it evaluates the newest checkpoint
 * there is, and those that came and went while it was busy are skipped.
 */
import type { Manifest } from "../../compute/data/manifest.ts";
import { readSample, type Sample, validationCrops } from "../../compute/data/samples.ts";
import { decodeShard, type TokenArray } from "../../compute/data/shard.ts";
import { loadTokenizer, type Tokenizer, tokenizerIdSchema } from "../../compute/data/tokenizer.ts";
import { ComputeHost } from "../../compute/host.ts";
import { optimizerStateLength } from "../../compute/model/optimizer-state.ts";
import { wholeModel } from "../../compute/model/stages.ts";
import type { OpenOptions } from "../../compute/worker-protocol.ts";
import { type Failure, failureOf } from "../../protocol/failure.ts";
import type { BlobHash, RunId } from "../../protocol/ids.ts";
import type { Checkpoint, Evaluation } from "../../protocol/run-view.ts";
import type { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import { modelParameters, planStages, type RunDefinition } from "../orchestrator/core/definition.ts";
import { joinStages } from "./join-stages.ts";

export interface EvaluatorOptions {
  readonly blobs: Pick<FileBlobStore, "get">;
  readonly backend: OpenOptions["backend"];
  /** Sequences of the validation text, always the same ones. */
  readonly sequences: number;
  /** Tokens that the model writes; 0: none. */
  readonly sampleTokens: number;
  readonly prompt: string;
  /** What the evaluation may use of this machine's memory. */
  readonly memoryLimitBytes: number;
  /** Bugs, with their stack. */
  readonly log: (text: string) => void;
  readonly createHost?: () => Pick<ComputeHost, "call" | "close" | "pid" | "exited">;
}

/** Whose checkpoints are evaluated. */
export interface EvaluatedRun {
  readonly runId: RunId;
  readonly definition: RunDefinition;
  readonly manifest: Manifest;
  readonly onEvaluation: (evaluation: Evaluation) => void;
  /** Something that people should know: why there is no evaluation. */
  readonly onNote: (level: "warning" | "error", text: string) => void;
}

/** A checkpoint that waits for its turn. */
interface Task {
  readonly run: EvaluatedRun;
  readonly checkpoint: Checkpoint;
}

/** What a run's checkpoints are measured with. */
interface Measure {
  readonly runId: RunId;
  readonly sample: Sample;
  readonly tokenizer: Tokenizer;
}

const temperature = 0.8;
/** Weights, gradients and two moments in the worker, and the message that brings them: f32 each. */
const bytesPerParameter = 4 * 8;
/** Pauses after the first, second, third … failure in a row; then it waits for the next checkpoint. */
const retryPausesMs = [1000, 5000, 30_000];

type Host = Pick<ComputeHost, "call" | "close" | "pid" | "exited">;

export class Evaluator {
  readonly #options: EvaluatorOptions;
  /** At most one of each run, the longest waiting first. */
  readonly #waiting = new Map<RunId, Task>();
  #working: Promise<void> | null = null;
  /** The worker, and the run whose model it holds. */
  #host: Host | null = null;
  #hostRunId: RunId | null = null;
  #measure: Measure | null = null;
  #closed = false;
  #wake: () => void = () => undefined;

  constructor(options: EvaluatorOptions) {
    this.#options = options;
  }

  /** Of the compute worker, while there is one. */
  get pid(): number | undefined {
    return this.#host?.pid;
  }

  /** Replaces a checkpoint of the run that has not been looked at yet. */
  evaluate(run: EvaluatedRun, checkpoint: Checkpoint): void {
    if (this.#closed) return;
    this.#waiting.set(run.runId, { run, checkpoint });
    this.#working ??= this.#work().finally(() => {
      this.#working = null;
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#waiting.clear();
    this.#wake();
    await this.#host?.close();
    await this.#working;
  }

  async #work(): Promise<void> {
    let failures = 0;
    for (let task = this.#take(); task !== undefined; task = this.#take()) {
      const { run, checkpoint } = task;
      try {
        const evaluation = await this.#evaluate(task);
        if (evaluation !== null) run.onEvaluation(evaluation);
        failures = 0;
      } catch (error) {
        if (this.#closed) return;
        this.#explain(task, error);
        await this.#dropHost();
        const pauseMs = retryPausesMs[failures++];
        if (pauseMs === undefined || isHopeless(error)) continue;
        await this.#pause(pauseMs);
        if (!this.#waiting.has(run.runId)) this.evaluate(run, checkpoint);
      }
    }
  }

  #take(): Task | undefined {
    const [task] = this.#waiting.values();
    if (task !== undefined) this.#waiting.delete(task.run.runId);
    return task;
  }

  /** Null when the model is too large for this machine. */
  async #evaluate({ run, checkpoint }: Task): Promise<Evaluation | null> {
    const { blobs, memoryLimitBytes } = this.#options;
    const { definition } = run;
    const neededBytes = modelParameters(definition) * bytesPerParameter;
    if (neededBytes > memoryLimitBytes) {
      run.onNote("warning", tooLarge(checkpoint, neededBytes, memoryLimitBytes));
      return null;
    }
    const stages = planStages(definition).map((plan) => plan.spec);
    const vectors = await Promise.all(checkpoint.stages.map(({ weights }) => blobs.get(weights.hash)));
    const weights = joinStages(definition.model, stages, vectors);
    const { sample, tokenizer } = await this.#measureOf(run);
    const host = await this.#hostFor(run);
    await host.call("load", { weights, optimizer: new Float32Array(optimizerStateLength("sync", weights.length)) });
    const { lossSumNats } = await host.call("evaluate", sample);
    return {
      epoch: checkpoint.epoch,
      tokens: checkpoint.tokens,
      validationLossNats: lossSumNats / sample.tokens.length,
      validationTokens: sample.tokens.length,
      sample: await this.#write(host, tokenizer, checkpoint.epoch),
    };
  }

  async #write(host: Host, tokenizer: Tokenizer, seed: number): Promise<Evaluation["sample"]> {
    const { prompt, sampleTokens } = this.#options;
    if (sampleTokens === 0) return null;
    const request = { prompt: tokenizer.encode(prompt), count: sampleTokens, temperature, seed };
    const { tokens } = await host.call("generate", request);
    return { prompt, text: tokenizer.decode(tokens) };
  }

  /** Kept as long as checkpoints of the same run follow each other. */
  async #measureOf({ runId, definition, manifest }: EvaluatedRun): Promise<Measure> {
    if (this.#measure?.runId === runId) return this.#measure;
    const { blobs, sequences } = this.#options;
    const { sequenceLength } = definition.training;
    const crops = validationCrops(manifest, sequenceLength, sequences);
    const shards = new Map<BlobHash, TokenArray>();
    for (const { shard } of crops) if (!shards.has(shard)) shards.set(shard, decodeShard(await blobs.get(shard)));
    const shardOf = (hash: BlobHash) => {
      const shard = shards.get(hash);
      if (shard === undefined) throw new Error(`shard ${hash} was not read`);
      return shard;
    };
    const tokenizer = await loadTokenizer(tokenizerIdSchema.parse(definition.tokenizer));
    this.#measure = { runId, sample: readSample(crops, sequenceLength, shardOf), tokenizer };
    return this.#measure;
  }

  /** A worker that has opened the run's model: another run's model takes another worker, one at a time. */
  async #hostFor({ runId, definition }: EvaluatedRun): Promise<Host> {
    if (this.#host !== null && this.#hostRunId === runId) return this.#host;
    await this.#dropHost();
    const { backend, createHost } = this.#options;
    const host = createHost?.() ?? new ComputeHost({ lowPriority: true });
    this.#host = host;
    this.#hostRunId = runId;
    void host.exited.then(() => {
      if (this.#host === host) this.#host = null;
    });
    await host.call("open", {
      backend,
      threads: 1,
      model: definition.model,
      stage: wholeModel(definition.model),
      // No step is taken here: the mode with the smaller optimizer state, and a microbatch of one sequence.
      training: { ...definition.training, mode: "sync", sequencesPerMicrobatch: 1 },
    });
    return host;
  }

  async #dropHost(): Promise<void> {
    const host = this.#host;
    this.#host = null;
    await host?.close();
  }

  #explain({ run, checkpoint }: Task, error: unknown): void {
    const failure: Failure | undefined = failureOf(error);
    const why = failure?.message ?? (error instanceof Error ? error.message.split("\n")[0] : String(error));
    run.onNote("warning", `The checkpoint of epoch ${checkpoint.epoch} could not be evaluated: ${why}`);
    if (failure === undefined) this.#options.log(error instanceof Error ? (error.stack ?? "") : String(error));
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

/** The blobs of a checkpoint that has been superseded, or whose run was deleted, do not come back. */
function isHopeless(error: unknown): boolean {
  const code = failureOf(error)?.code;
  return code === "memory-full" || code === "blob-not-found";
}

function tooLarge(checkpoint: Checkpoint, neededBytes: number, limitBytes: number): string {
  const mebibytes = (bytes: number) => `${Math.ceil(bytes / (1 << 20))} MiB`;
  return `The checkpoint of epoch ${checkpoint.epoch} is not evaluated: the whole model needs ${mebibytes(neededBytes)}, of which ${mebibytes(limitBytes)} are free for it here.`;
}
