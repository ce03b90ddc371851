import { appendFile, chmod, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { byteModel } from "../../test/compute/small-model.ts";
import { exportFakeModel } from "../../test/network/fake-archive.ts";
import { commandNetwork, observeRuns } from "../miner/session/observe.ts";
import { failureOf } from "../protocol/failure.ts";
import { createIdentity } from "../protocol/identity.ts";
import { runIdSchema } from "../protocol/ids.ts";
import type { OwnerCommand } from "../protocol/owner-commands.ts";
import { readArchive } from "./checkpoints/archive.ts";
import type { RunState } from "./orchestrator/core/state.ts";
import type { RunOptions } from "./run-options.ts";
import { type NetworkOptions, type RunningNetwork, serveNetwork } from "./serve.ts";

const tiny = runIdSchema.parse("tiny");

function stateOf(network: RunningNetwork): RunState {
  return network.states.get(tiny) ?? expect.fail("the run is not there");
}

describe("a served network", () => {
  let folder: string;
  let network: RunningNetwork | undefined;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "network-"));
    await writeFile(join(folder, "text.txt"), "Call me Ishmael. Some years ago. ".repeat(100));
  });
  afterEach(async () => {
    await network?.close();
    network = undefined;
    await rm(folder, { recursive: true });
  });

  const serve = (run: Partial<RunOptions> = {}, options: Partial<NetworkOptions> = {}) =>
    serveNetwork({
      run: { preset: "tiny", replicas: 2, data: join(folder, "text.txt"), ...run },
      port: 0,
      stateFolder: join(folder, "state"),
      evaluator: null,
      log: () => undefined,
      ...options,
    });
  const restart = async (run: Partial<RunOptions> = {}, options: Partial<NetworkOptions> = {}) => {
    await network?.close();
    network = undefined;
    network = await serve(run, options);
    return network;
  };
  const failureWith = async (run: Partial<RunOptions>, options: Partial<NetworkOptions> = {}) =>
    failureOf(
      await serve(run, options).then(
        (unexpected) => unexpected.close(),
        (error) => error,
      ),
    );

  it("creates its run, and takes it up under the same name at the next start, without reading the text again", async () => {
    const first = await restart();
    const { networkId } = first;
    const state = stateOf(first);
    expect(state.stages).toHaveLength(3);
    await rm(join(folder, "text.txt"));
    const again = await restart();
    expect(again.networkId).toBe(networkId);
    expect(stateOf(again).definition).toEqual(state.definition);
    expect(stateOf(again).log.at(-1)?.text).toBe("The orchestrator was started again.");
    expect(again.url).toBe(`ws://127.0.0.1:${again.port}`);
  });

  it("keeps its key to itself", async () => {
    await restart();
    expect((await stat(join(folder, "state", "network-key.pem"))).mode & 0o777).toBe(0o600);
  });

  it("refuses to go on with another run's state", async () => {
    await restart({ seed: 1 });
    await network?.close();
    network = undefined;
    expect(await failureWith({ seed: 2 })).toMatchObject({
      code: "invalid-option",
      message: expect.stringContaining("training"),
    });
  });

  it.each([
    ["data", { data: "/another/text.txt" }],
    ["replicas", { replicas: 3 }],
  ])("refuses to go on with other %s than it began with", async (name, options) => {
    await restart();
    await network?.close();
    network = undefined;
    expect(await failureWith(options)).toMatchObject({
      code: "invalid-option",
      message: expect.stringMatching(new RegExp(`differs in ${name}\\.`)),
      action: expect.stringContaining("--state"),
    });
  });

  it("goes on towards another target when it is asked to", async () => {
    await restart({ tokens: 1000 });
    expect(stateOf(await restart({ tokens: 5000 })).definition.targetTokens).toBe(5000);
    expect(stateOf(await restart()).definition.targetTokens).toBeNull();
  });

  it("serves the runs of its state folder when it is asked for none, and asks which one is meant by another", async () => {
    await restart();
    const again = await restart({}, { run: undefined });
    expect([...again.states.keys()]).toEqual([tiny]);
    await again.close();
    network = undefined;
    expect(await failureWith({ preset: "demo" })).toMatchObject({
      code: "invalid-option",
      message: expect.stringContaining("tiny"),
      action: expect.stringContaining("tah run create"),
    });
  });

  it("takes all its runs up again at a restart, with their weights, and not the deleted ones", async () => {
    const owner = createIdentity();
    const options = { owners: [owner.minerId] };
    const { url } = await restart({}, options);
    const command = (asked: OwnerCommand) => commandNetwork(url, owner, asked);
    for (const name of ["second", "third"]) {
      const run = { preset: "tiny", runId: runIdSchema.parse(name), weight: 5, replicas: 1 };
      await command({ type: "create-run", run: { ...run, data: join(folder, "text.txt") } });
    }
    const deleted = runIdSchema.parse("third");
    await command({ type: "steer-run", runId: deleted, action: "pause" });
    await command({ type: "delete-run", runId: deleted });
    const again = await restart({}, { ...options, run: undefined });
    const { runs } = await observeRuns(again.url);
    expect(runs.map(({ runId, weight }) => [runId, weight])).toEqual([
      ["second", 5],
      ["tiny", 1],
    ]);
  });

  it("begins without any run, for its owner to create them", async () => {
    expect((await restart({}, { run: undefined })).states.size).toBe(0);
  });

  it("begins with a model that there is already, and goes on with that run only", async () => {
    const model = await exportFakeModel(folder);
    const state = stateOf(await restart({ from: model, stages: 2 }));
    expect(state.definition).toMatchObject({ name: "model on own text", model: byteModel, tokenizer: "bytes" });
    expect(state.definition.training.sequenceLength).toBe(byteModel.context);
    expect(state.checkpoint).toMatchObject({ epoch: 0, tokens: 0, stages: [{}, {}] });
    expect(await readArchive(join(folder, "state"))).toMatchObject([{ epoch: 0, weights: [{}, {}] }]);
    expect(stateOf(await restart({ from: model, stages: 2 })).checkpoint).toEqual(state.checkpoint);
    await network?.close();
    network = undefined;
    expect((await failureWith({ stages: 2 }))?.message).toContain("differs in from");
  });

  it("merges at every step in sync mode", async () => {
    expect(stateOf(await restart({ mode: "sync", seed: 7 })).definition.training).toMatchObject({
      mode: "sync",
      stepsPerEpoch: 1,
      seed: 7,
    });
  });

  it.each([
    ["more stages than layers", { stages: 9 }, "invalid-option"],
    ["text that is not there", { data: "/nowhere/text.txt" }, "file-unreadable"],
  ] as const)("refuses %s, and leaves nothing open", async (_, options, code) => {
    expect((await failureWith(options))?.code).toBe(code);
    await restart();
  });

  it("refuses a port that is taken, and leaves nothing open", async () => {
    const other = await serve({}, { stateFolder: join(folder, "other") });
    expect((await failureWith({}, { port: other.port }))?.code).toBe("port-in-use");
    await other.close();
    await restart({}, { port: other.port });
  });

  it.each(["manifest", "shard"])(
    "says that its dataset's %s was damaged, before anybody trains on it",
    async (part) => {
      const state = stateOf(await restart());
      const { manifest } = state.definition.dataset;
      await network?.close();
      network = undefined;
      const blobs = join(folder, "state", "blobs");
      const damaged = (await readdir(blobs)).find((name) => (name === manifest.hash) === (part === "manifest")) ?? "";
      await appendFile(join(blobs, damaged), "!");
      expect(await failureWith({})).toMatchObject({
        code: "state-corrupt",
        message: expect.stringContaining("dataset"),
      });
    },
  );

  it("says that its key was damaged", async () => {
    await restart();
    await network?.close();
    network = undefined;
    await writeFile(join(folder, "state", "network-key.pem"), "not a key");
    expect((await failureWith({}))?.code).toBe("state-corrupt");
  });

  it.skipIf(process.platform === "win32")("does not use a key that others on this computer can read", async () => {
    await restart();
    await network?.close();
    network = undefined;
    await chmod(join(folder, "state", "network-key.pem"), 0o640);
    expect(await failureWith({})).toMatchObject({
      code: "state-corrupt",
      action: expect.stringContaining("chmod 600"),
    });
  });
});
