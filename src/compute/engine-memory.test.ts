import { describe, expect, it } from "vitest";
import { asTheyAre, payloadOf } from "../../test/compute/payloads.ts";
import { model, sample, sequenceLength, training, whole } from "../../test/compute/small-engine.ts";
import { createReferenceDevice } from "./backends/reference/device.ts";
import { createEngine } from "./engine.ts";
import { type Device, DeviceMemoryError } from "./kernels.ts";
import type { StageSpec } from "./model/config.ts";
import { stageMemory } from "./model/memory-plan.ts";
import { cutIntoStages } from "./model/stages.ts";

describe("a device whose kernels see little at once", () => {
  const [first, last] = cutIntoStages(model, 2) as [StageSpec, StageSpec];
  const open = async (stage: StageSpec, sequencesPerMicrobatch: number, largestOperand: number) => {
    let allocations = 0;
    const device = createReferenceDevice();
    const fakeNarrowDevice: Device = {
      ...device,
      largestOperand,
      allocate(length) {
        allocations++;
        return device.allocate(length);
      },
    };
    const engine = createEngine(async () => fakeNarrowDevice);
    const settings = { ...training, sequencesPerMicrobatch };
    const opening = engine.open({ backend: "reference", threads: 1, model, stage, training: settings });
    await opening.finally(() => engine.close());
    return allocations;
  };

  it.each([
    ["a tensor", first, 1, "embedding", 24 * 16],
    ["a microbatch's matrix", first, 8, "gate of 64 tokens", 64 * 20],
    ["a microbatch's logits", last, 8, "logits", 64 * 24],
  ] as const)(
    "opens a stage when %s fits, and refuses it with both numbers when not",
    async (_, stage, sequences, name, length) => {
      expect(await open(stage, sequences, length)).toBeGreaterThan(0);
      await expect(open(stage, sequences, length - 1)).rejects.toMatchObject({
        name: DeviceMemoryError.name,
        requestedBytes: 4 * length,
        message: expect.stringMatching(
          `${name}: it takes ${4 * length} bytes, and kernels see ${4 * (length - 1)} at once`,
        ),
      });
    },
  );
});

describe("a full device", () => {
  const [first] = cutIntoStages(model, 2) as [StageSpec];
  const { sequences, tokens } = sample("a");

  it("refuses a microbatch, and takes it when another has made room", async () => {
    const device = createReferenceDevice();
    let roomElements = Number.POSITIVE_INFINITY;
    const fakeSmallDevice: Device = {
      ...device,
      allocate(length) {
        if (length > roomElements) throw new DeviceMemoryError(4 * length, "a full device");
        roomElements -= length;
        return device.allocate(length);
      },
      free(buffer) {
        if (buffer.element === "real") roomElements += buffer.length;
        device.free(buffer);
      },
    };
    const engine = createEngine(async () => fakeSmallDevice);
    await engine.open({ backend: "reference", threads: 1, model, stage: first, training });
    const send = asTheyAre;
    roomElements = 3000;
    await engine.forward({ microbatch: "a", sequences, tokens, send });
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(engine.forward({ microbatch: "b", sequences, tokens, send })).rejects.toBeInstanceOf(
        DeviceMemoryError,
      );
      expect(roomElements).toBe(3000);
    }
    await engine.discard({ microbatches: ["a"] });
    await engine.forward({ microbatch: "b", sequences, tokens, send });
  });
});

describe("a memory limit", () => {
  const [first] = cutIntoStages(model, 2) as [StageSpec];
  const work = { model, stage: first, training };
  const { sequences, tokens } = sample("a");
  const needs = { microbatchesInFlight: 3, workspaceBytes: 0 };
  const roomy = stageMemory(work, needs, false);
  const tight = stageMemory(work, needs, true);
  const open = async (memoryLimitBytes: number) => {
    const engine = createEngine(async () => createReferenceDevice());
    const { memory } = await engine.open({ backend: "reference", threads: 1, ...work, ...needs, memoryLimitBytes });
    return { engine, memory };
  };

  it("lets activations be kept where they fit, and has them recomputed where they do not", async () => {
    expect((await open(roomy.totalBytes)).memory).toEqual(roomy);
    expect((await open(roomy.totalBytes - 1)).memory).toEqual(tight);
    expect((await open(tight.totalBytes)).memory).toEqual(tight);
  });

  it("too low for a stage is refused with what is missing", async () => {
    await expect(open(tight.totalBytes - 1)).rejects.toMatchObject({
      name: DeviceMemoryError.name,
      requestedBytes: tight.totalBytes,
      message: expect.stringMatching(
        /stage 1 of 2: it takes 1 MiB, which is 1 MiB too much \(weights 1 MiB, .*3 microbatches/,
      ),
    });
  });

  it("refuses more microbatches in flight than there is room for, and takes the next when one has come back", async () => {
    const { engine } = await open(tight.totalBytes);
    const forward = (microbatch: string) => engine.forward({ microbatch, sequences, tokens, send: asTheyAre });
    for (const microbatch of ["a", "b", "c"]) await forward(microbatch);
    await expect(forward("d")).rejects.toBeInstanceOf(DeviceMemoryError);
    const gradient = payloadOf(new Float32Array(sequences * sequenceLength * model.width).fill(1), model.width);
    await engine.backward({ microbatch: "b", gradient, send: null });
    await forward("d");
    expect((await engine.step()).tokens).toBe(sequences * sequenceLength);
  });

  it("leaves room for a generating model's cache only while it generates", async () => {
    const request = { prompt: tokens.subarray(0, 3), count: 5, temperature: 0, seed: 1 };
    const written = [];
    for (const limited of [false, true]) {
      const engine = createEngine(async () => createReferenceDevice());
      const limit = limited && { memoryLimitBytes: stageMemory({ ...work, stage: whole }, needs, true).totalBytes };
      await engine.open({ backend: "reference", threads: 1, ...work, ...needs, stage: whole, ...limit });
      written.push(await engine.generate(request));
    }
    expect(written[1]).toEqual(written[0]);
  });
});
