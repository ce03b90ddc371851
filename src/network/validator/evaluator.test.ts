import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { initialVector } from "../../../test/compute/small-model.ts";
import { buildDataset } from "../../compute/data/manifest.ts";
import { splitDocuments } from "../../compute/data/split.ts";
import { loadTokenizer } from "../../compute/data/tokenizer.ts";
import type { ComputeHost } from "../../compute/host.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import { wholeModel } from "../../compute/model/stages.ts";
import { FailureError } from "../../protocol/failure.ts";
import { bytesOf, hashBytes } from "../../protocol/identity.ts";
import { type BlobHash, runIdSchema } from "../../protocol/ids.ts";
import type { Checkpoint, Evaluation } from "../../protocol/run-view.ts";
import { planStages } from "../orchestrator/core/definition.ts";
import { fakeDefinition, fakeHash } from "../orchestrator/core/fake-swarm.ts";
import { type EvaluatedRun, Evaluator, type EvaluatorOptions } from "./evaluator.ts";
import { joinStages } from "./join-stages.ts";

const definition = fakeDefinition();
const stages = planStages(definition).map((plan) => plan.spec);
const tokenizer = await loadTokenizer("bytes");
const text = "The whale, the whale! Up helm, up helm! ".repeat(40);
const { manifest, files } = buildDataset(splitDocuments([text], tokenizer, 0.2), tokenizer, 1 << 20, hashBytes);

const vectors = stages.map((stage) =>
  bytesOf(initialVector(definition.model, stageLayout(definition.model, stage), 1)),
);
const blobs = new Map<BlobHash, Uint8Array>([...files, ...vectors.map((bytes) => [hashBytes(bytes), bytes] as const)]);

function checkpointOf(epoch: number): Checkpoint {
  const optimizer = { hash: fakeHash("optimizer"), bytes: 0 };
  return {
    epoch,
    tokens: epoch * 100,
    stages: vectors.map((bytes) => ({ weights: { hash: hashBytes(bytes), bytes: bytes.length }, optimizer })),
  };
}

describe("stages", () => {
  it("are joined to exactly the model that was never cut", () => {
    const whole = stageLayout(definition.model, wholeModel(definition.model));
    expect(joinStages(definition.model, stages, vectors)).toEqual(initialVector(definition.model, whole, 1));
  });

  it("of another size are not joined", () => {
    expect(() => joinStages(definition.model, stages, [...vectors].reverse())).toThrow(FailureError);
  });
});

describe("the evaluator", () => {
  let evaluator: Evaluator;
  let evaluations: Evaluation[];
  let evaluated: string[];
  let notes: string[];
  let changed: () => void;
  beforeEach(() => {
    evaluations = [];
    evaluated = [];
    notes = [];
    changed = () => undefined;
  });
  afterEach(() => evaluator.close());

  const openEvaluator = (options: Partial<EvaluatorOptions> = {}) => {
    evaluator = new Evaluator({
      backend: "reference",
      sequences: 2,
      sampleTokens: 12,
      prompt: "The ",
      memoryLimitBytes: 1 << 30,
      blobs: { get: async (hash) => blobs.get(hash) ?? Promise.reject(new FailureError("blob-not-found", hash)) },
      log: (line) => expect.fail(line),
      ...options,
    });
  };
  const runNamed = (name: string): EvaluatedRun => ({
    runId: runIdSchema.parse(name),
    definition,
    manifest,
    onEvaluation: (evaluation) => {
      evaluations.push(evaluation);
      evaluated.push(`${name} ${evaluation.epoch}`);
      changed();
    },
    onNote: (_level, note) => {
      notes.push(note);
      changed();
    },
  });
  const run = runNamed("one");
  const until = async (condition: () => boolean) => {
    while (!condition())
      await new Promise<void>((resolve) => {
        changed = resolve;
      });
  };

  it("measures an untrained model near ln 256, writes with it, and finds the same again", async () => {
    openEvaluator();
    evaluator.evaluate(run, checkpointOf(1));
    await until(() => evaluations.length === 1);
    const [first] = evaluations;
    expect(first).toMatchObject({ epoch: 1, tokens: 100, validationTokens: 2 * definition.training.sequenceLength });
    expect(first?.validationLossNats).toBeCloseTo(Math.log(256), 0);
    expect(first?.sample?.prompt).toBe("The ");
    expect(first?.sample?.text.length).toBeGreaterThan(0);
    evaluator.evaluate(run, checkpointOf(1));
    await until(() => evaluations.length === 2);
    expect(evaluations[1]).toEqual(first);
  });

  it("skips checkpoints that came and went while it was busy", async () => {
    openEvaluator();
    for (const epoch of [1, 2, 3, 4]) evaluator.evaluate(run, checkpointOf(epoch));
    await until(() => evaluations.length === 2);
    expect(evaluations.map(({ epoch }) => epoch)).toEqual([1, 4]);
  });

  it("lets runs take turns, with one worker at a time", async () => {
    let open = 0;
    let most = 0;
    const createHost = () => {
      most = Math.max(most, ++open);
      return fakeHost({ onClose: () => open-- });
    };
    openEvaluator({ createHost });
    const other = runNamed("other");
    evaluator.evaluate(run, checkpointOf(1));
    evaluator.evaluate(other, checkpointOf(2));
    evaluator.evaluate(run, checkpointOf(3));
    evaluator.evaluate(other, checkpointOf(4));
    await until(() => evaluations.length === 3);
    expect(evaluated).toEqual(["one 1", "other 4", "one 3"]);
    expect(most).toBe(1);
  });

  it("says so when the model does not fit into memory", async () => {
    openEvaluator({ memoryLimitBytes: 1 << 20 });
    evaluator.evaluate(run, checkpointOf(1));
    await until(() => notes.length === 1);
    expect(notes[0]).toContain("is not evaluated: the whole model needs");
    expect(evaluator.pid).toBeUndefined();
  });

  it("says so when its worker dies, and evaluates the next checkpoint with a new one", async () => {
    let hosts = 0;
    openEvaluator({ createHost: () => fakeHost({ fails: hosts++ === 0 }) });
    evaluator.evaluate(run, checkpointOf(1));
    await until(() => notes.length === 1);
    evaluator.evaluate(run, checkpointOf(2));
    await until(() => evaluations.length === 1);
    expect(notes).toEqual(["The checkpoint of epoch 1 could not be evaluated: the worker ended"]);
    expect(evaluations[0]).toMatchObject({ epoch: 2, validationLossNats: 1, sample: { text: "AB" } });
    expect(hosts).toBe(2);
  });
});

/** A worker that finds every model equally good, or ends at its first call. */
function fakeHost({
  fails = false,
  onClose = () => undefined,
}: {
  fails?: boolean;
  onClose?: () => void;
}): ComputeHost {
  const results: Record<string, unknown> = {
    evaluate: { lossSumNats: 64 },
    generate: { tokens: Int32Array.of(65, 66) },
  };
  const host = {
    pid: 1,
    exited: new Promise(() => undefined),
    close: async () => onClose(),
    call: async (method: string) => {
      if (fails) throw new FailureError("compute-crashed", "the worker ended");
      return results[method];
    },
  };
  return host as unknown as ComputeHost;
}
