import { describe, expect, it } from "vitest";
import { createNativeDevice, nativeInstructionSets } from "../backends/native/device.ts";
import { createEngine } from "../engine.ts";
import { noWorkspace } from "../kernels.ts";
import type { ModelConfig } from "./config.ts";
import { presets } from "./presets.ts";
import { wholeModel } from "./stages.ts";
import { stageWorkspaceBytes } from "./workspace.ts";

const small: ModelConfig = {
  ...presets.tiny.model,
  width: 48,
  layers: 1,
  heads: 6,
  keyValueHeads: 3,
  feedForward: 100,
  vocabulary: 300,
};
const longTraining = { ...presets.tiny.training, sequenceLength: 300, sequencesPerMicrobatch: 1 };

describe.each([...nativeInstructionSets(), ...nativeInstructionSets("bf16")])(
  "working space with %s",
  (instructionSet) => {
    it.each([
      ["the tiny preset", { model: presets.tiny.model, training: presets.tiny.training }],
      ["uneven widths", { model: small, training: presets.tiny.training }],
      ["a long sequence", { model: { ...small, context: 300 }, training: longTraining }],
    ])("is known before the kernels take it: %s", async (_, { model, training }) => {
      const stage = wholeModel(model);
      const device = createNativeDevice({ threads: 2, instructionSet });
      const engine = createEngine(async () => device);
      await engine.open({ backend: "native", threads: 2, model, stage, training });
      const tokens = new Int32Array(training.sequenceLength * training.sequencesPerMicrobatch);
      const sequences = training.sequencesPerMicrobatch;
      await engine.forwardBackward({ microbatch: "a", sequences, tokens, targets: tokens, send: null });
      const held = device.workspace.heldBytes();
      expect(held).toBeGreaterThan(0);
      expect(stageWorkspaceBytes({ model, stage, training }, device.workspace)).toBe(held);
      engine.close();
    });
  },
);

describe("working space", () => {
  it("is none where kernels take none", () => {
    const { model, training } = presets.tiny;
    expect(stageWorkspaceBytes({ model, stage: wholeModel(model), training }, noWorkspace)).toBe(0);
  });
});
