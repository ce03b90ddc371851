import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { afterEach, describe, expect, it } from "vitest";
import { asTheyAre, brokenPayloadOf, payloadOf } from "../../test/compute/payloads.ts";
import { randomTokens } from "../../test/compute/small-model.ts";
import { presets } from "./model/presets.ts";
import { cutIntoStages, parameterCount, wholeModel } from "./model/stages.ts";
import type { ComputeArguments, ComputeMethod, ComputeReply, OpenOptions } from "./worker-protocol.ts";

const { model, training } = presets.tiny;
const [firstStage, , lastStage] = cutIntoStages(model, 3);
const whole: OpenOptions = { backend: "reference", threads: 1, model, training, stage: wholeModel(model) };
const sequences = 2;
const tokens = randomTokens(model, sequences * training.sequenceLength, "tokens");
const targets = randomTokens(model, sequences * training.sequenceLength, "targets");

let child: ChildProcess | undefined;
let lastId = 0;

function start(): ChildProcess {
  child = fork(new URL("./worker.ts", import.meta.url), { serialization: "advanced", execArgv: [] });
  child.setMaxListeners(100);
  return child;
}

afterEach(() => child?.kill("SIGKILL"));

function call<M extends ComputeMethod>(worker: ChildProcess, method: M, ...args: ComputeArguments<M>) {
  const id = ++lastId;
  return new Promise<ComputeReply>((resolve, reject) => {
    worker.once("exit", (code) => reject(new Error(`the worker exited with ${code}`)));
    worker.on("message", (reply: ComputeReply) => {
      if (reply.id === id) resolve(reply);
    });
    worker.send({ id, method, arguments: args });
  });
}

describe("a compute worker", () => {
  it("trains, and answers in order", async () => {
    const worker = start();
    const order: number[] = [];
    worker.on("message", (reply: ComputeReply) => order.push(reply.id));
    const calls = [
      call(worker, "open", whole),
      call(worker, "forwardBackward", { microbatch: "a", sequences, tokens, targets, send: null }),
      call(worker, "step"),
      call(worker, "generate", { prompt: tokens.slice(0, 4), count: 5, temperature: 1, seed: 1 }),
    ];
    const [opened, trained, stepped, generated] = await Promise.all(calls);
    expect(opened).toMatchObject({
      ok: true,
      result: { device: { kind: "reference" }, parameters: parameterCount(model) },
    });
    expect(trained).toMatchObject({ ok: true, result: { inputGradient: null } });
    expect(stepped).toMatchObject({ ok: true, result: { tokens: tokens.length } });
    expect(generated).toMatchObject({ ok: true, result: { tokens: expect.any(Int32Array) } });
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  it("says that a payload was none, and trains on", async () => {
    const worker = start();
    await call(worker, "open", { ...whole, stage: firstStage as OpenOptions["stage"] });
    await call(worker, "forward", { microbatch: "a", sequences, tokens, send: asTheyAre });
    await call(worker, "forward", { microbatch: "b", sequences, tokens, send: asTheyAre });
    const gradient = new Float32Array(tokens.length * model.width).fill(0.01);
    const backward = (microbatch: string, payload: Uint8Array) =>
      call(worker, "backward", { microbatch, gradient: payload, send: null });
    const refused = await backward("a", brokenPayloadOf(gradient, model.width));
    expect(refused).toMatchObject({ ok: false, error: { kind: "malformed" } });
    expect(await backward("b", payloadOf(gradient, model.width))).toMatchObject({ ok: true });
    expect(await call(worker, "step")).toMatchObject({ ok: true, result: { tokens: tokens.length } });
  });

  it.each(["reference", "native"] as const)(
    "on the %s back end never trains on activations with NaN",
    async (backend) => {
      const worker = start();
      await call(worker, "open", { ...whole, backend, stage: lastStage as OpenOptions["stage"] });
      const activations = new Float32Array(tokens.length * model.width).fill(0.5);
      const train = (payload: Uint8Array) =>
        call(worker, "forwardBackward", {
          ...{ microbatch: "a", sequences, rows: tokens.length, activations: payload },
          ...{ targets, send: asTheyAre },
        });
      const refused = await train(brokenPayloadOf(activations, model.width));
      expect(refused).toMatchObject({ ok: false, error: { kind: "malformed" } });
      expect(await call(worker, "step")).toMatchObject({ ok: true, result: { tokens: 0 } });
      await train(payloadOf(activations, model.width));
      expect(await call(worker, "step")).toMatchObject({ ok: true, result: { tokens: tokens.length } });
    },
  );

  it("says how much memory a stage wanted that does not fit, and stays usable", async () => {
    const worker = start();
    const huge = { ...presets["100b"], stage: wholeModel(presets["100b"].model) };
    const refused = await call(worker, "open", { ...whole, ...huge });
    expect(refused).toMatchObject({ ok: false, error: { kind: "memory", requestedBytes: expect.any(Number) } });
    expect(await call(worker, "open", whole)).toMatchObject({ ok: true });
  });

  it("reports a bug in the caller as one", async () => {
    const reply = await call(start(), "step");
    expect(reply).toMatchObject({ ok: false, error: { kind: "bug" } });
  });

  it("ends when its parent goes away", async () => {
    const worker = start();
    await call(worker, "open", whole);
    worker.disconnect();
    expect(await once(worker, "exit")).toEqual([0, null]);
  });
});
