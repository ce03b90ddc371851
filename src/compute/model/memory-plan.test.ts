import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { noCompression } from "../../protocol/run-config.ts";
import { createReferenceDevice } from "../backends/reference/device.ts";
import { DeviceMemoryError } from "../kernels.ts";
import { CompressedMerge } from "../merge/compressed-merge.ts";
import { createReplica } from "../replica.ts";
import type { ModelConfig } from "./config.ts";
import { createMemory, elementBytes } from "./memory.ts";
import { planStageMemory, stageMemory } from "./memory-plan.ts";
import { presets } from "./presets.ts";
import { createStage } from "./stage.ts";
import { allocateActivations } from "./stage-memory.ts";
import { cutIntoStages } from "./stages.ts";

const seed = 20_261_126;

const shapes = fc.record({
  vocabulary: fc.integer({ min: 1, max: 300 }),
  headDim: fc.constantFrom(2, 4, 6),
  keyValueHeads: fc.integer({ min: 1, max: 3 }),
  groupHeads: fc.integer({ min: 1, max: 2 }),
  feedForward: fc.integer({ min: 1, max: 90 }),
  layers: fc.integer({ min: 1, max: 4 }),
  stages: fc.integer({ min: 1, max: 4 }),
  sequenceLength: fc.integer({ min: 1, max: 9 }),
  sequencesPerMicrobatch: fc.integer({ min: 1, max: 3 }),
  microbatchesInFlight: fc.integer({ min: 0, max: 3 }),
  mode: fc.constantFrom("sync" as const, "local-steps" as const),
  outerMomentum: fc.constantFrom(0, 0.6),
  recompute: fc.boolean(),
  exchange: fc.constantFrom(null, { codec: { kind: "f32" }, lag: 0 } as const),
});

describe("a memory plan", () => {
  it(`is what a replica has allocated once it has stepped and merged (seed ${seed})`, () =>
    fc.assert(
      fc.asyncProperty(
        shapes,
        async ({ headDim, groupHeads, stages, microbatchesInFlight, recompute, exchange, ...rest }) => {
          const heads = groupHeads * rest.keyValueHeads;
          const model: ModelConfig = { ...presets.tiny.model, ...rest, heads, width: heads * headDim };
          const training = { ...presets.tiny.training, ...rest, compression: { ...noCompression, exchange } };
          const device = createReferenceDevice();
          for (const stage of cutIntoStages(model, Math.min(stages, model.layers))) {
            const memory = createMemory(device);
            const size = { maximumTokens: rest.sequencesPerMicrobatch * rest.sequenceLength, recompute };
            const open = createStage(device.kernels, memory, model, stage, size);
            const { length } = open.layout;
            const replica = createReplica(device, open, training, new CompressedMerge(training, length));
            for (let count = 0; count < microbatchesInFlight; count++) allocateActivations(open);
            replica.addTokens(1);
            if (training.mode === "local-steps") await (exchange ? replica.stepDelta(1) : replica.step());
            const whole = { from: 0, length };
            const { slices, tokens } = await replica.contribution([whole]);
            replica.beginMerge();
            for (const payload of slices) replica.mergeSlice(whole, payload);
            await replica.applyMerged(tokens, true);
            await replica.weightsHash();
            const plan = stageMemory(
              { model, stage, training },
              { microbatchesInFlight, workspaceBytes: 0 },
              recompute,
            );
            expect(plan.totalBytes - plan.exchangeBytes).toBe(elementBytes * memory.elements);
          }
          device.close();
        },
      ),
      { seed, numRuns: 40 },
    ));

  const { model, training } = presets["100m"];
  const stage = { index: 1, count: 4, fromLayer: 3, toLayer: 6 };
  const work = { model, stage, training };
  const needs = { microbatchesInFlight: 4, workspaceBytes: 1 << 20 };

  it("keeps activations unless the limit says otherwise, for recomputing takes longer", () => {
    const free = planStageMemory(work, needs);
    expect(free.recompute).toBe(false);
    const tight = planStageMemory(work, needs, free.totalBytes - 1);
    expect(tight.recompute).toBe(true);
    expect(tight.activationsPerMicrobatchBytes).toBeLessThan(free.activationsPerMicrobatchBytes / 8);
  });

  it("counts what exchanging steps takes: every group member's part decoded, and movements of two steps", () => {
    const exchange = { codec: { kind: "dense", bits: 2 }, lag: 1 } as const;
    const exchanging = { ...training, compression: { ...noCompression, exchange } };
    const { exchangeBytes, weightsBytes, totalBytes } = planStageMemory({ ...work, training: exchanging }, needs);
    const decodedBytes = 5 * 4 * 2 ** 20;
    const parameters = weightsBytes / elementBytes;
    expect(exchangeBytes).toBeGreaterThan(decodedBytes + (9 * parameters) / 4);
    expect(exchangeBytes).toBeLessThan(decodedBytes + (9.5 * parameters) / 4);
    expect(totalBytes).toBeGreaterThan(planStageMemory(work, needs).totalBytes + exchangeBytes);
  });

  it("that does not fit is refused with what takes how much", () => {
    expect(() => planStageMemory(work, needs, 100 << 20)).toThrow(DeviceMemoryError);
    expect(() => planStageMemory(work, needs, 100 << 20)).toThrow(
      /^a limit of 100 MiB has no room for stage 2 of 4: it takes \d+ MiB, which is \d+ MiB too much \(weights \d+ MiB, /,
    );
  });

  it("of the largest preset's stages is made without taking memory", () => {
    const { model, training, stages } = presets["100b"];
    for (const stage of cutIntoStages(model, stages))
      expect(planStageMemory({ model, stage, training }, needs).weightsBytes).toBeGreaterThan(2 ** 33);
  });
});
