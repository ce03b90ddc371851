import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { asTheyAre } from "../../test/compute/payloads.ts";
import { failureOf } from "../protocol/failure.ts";
import { ComputeHost } from "./host.ts";
import { presets } from "./model/presets.ts";
import { wholeModel } from "./model/stages.ts";

/** Answers as its request asks: a state, each kind of failure, silence, or death. */
const fakeWorker = `
process.on("message", ({ id, method }) => {
  if (method === "state") process.send({ id, ok: true, result: { weights: new Float32Array([1, 2]), optimizer: new Float32Array(0) } });
  if (method === "step") process.send({ id, ok: false, error: { kind: "non-finite", tensor: "head", message: "NaN in head" } });
  if (method === "backward") process.send({ id, ok: false, error: { kind: "device-lost", message: "the GPU was unplugged" } });
  if (method === "open") process.send({ id, ok: false, error: { kind: "unavailable", message: "no GPU" } });
  if (method === "contribution") process.send({ id, ok: false, error: { kind: "bug", message: "oops" } });
  if (method === "applyMerged") process.exit(3);
});`;

describe("a compute host", () => {
  let folder: string;
  let host: ComputeHost;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "compute-host-"));
    const file = join(folder, "worker.mjs");
    await writeFile(file, fakeWorker);
    host = new ComputeHost({ worker: pathToFileURL(file), lowPriority: true });
  });
  afterEach(async () => {
    await host.close();
    await rm(folder, { recursive: true });
  });

  it("answers calls with typed arrays", async () => {
    expect((await host.call("state")).weights).toEqual(new Float32Array([1, 2]));
  });

  it("tells expected failures from bugs", async () => {
    expect(failureOf(await host.call("step").catch((error) => error))?.code).toBe("compute-non-finite");
    const bug = await host.call("contribution", { partitions: [] }).catch((error) => error);
    expect(bug).toBeInstanceOf(Error);
    expect(failureOf(bug)).toBeUndefined();
  });

  it("treats a lost device as a crash, from which the caller recovers, and a missing one as a choice to make", async () => {
    const lost = host.call("backward", { microbatch: "0", gradient: new Uint8Array(1), send: null });
    expect(failureOf(await lost.catch((error) => error))).toMatchObject({ code: "compute-crashed", retry: true });
    const missing = host.call("open", {
      ...presets.tiny,
      backend: "webgpu",
      threads: 1,
      stage: wholeModel(presets.tiny.model),
    });
    expect(failureOf(await missing.catch((error) => error))).toMatchObject({
      code: "compute-unavailable",
      retry: false,
    });
  });

  it("rejects what was in flight, and later calls, when the worker dies", async () => {
    const exit = new Promise((resolve) => host.onExit(resolve));
    const unanswered = host.call("forward", {
      microbatch: "0",
      sequences: 1,
      tokens: new Int32Array(1),
      send: asTheyAre,
    });
    const fatal = host.call("applyMerged", { counted: true, tokens: 1 });
    for (const call of [unanswered, fatal])
      expect(failureOf(await call.catch((error) => error))?.code).toBe("compute-crashed");
    expect(await exit).toEqual({ code: 3, signal: null });
    expect(failureOf(await host.call("state").catch((error) => error))?.code).toBe("compute-crashed");
  });
});
