import { describe, expect, it } from "vitest";
import { nativeInstructionSets } from "../backends/native/device.ts";
import { openDevice } from "../device.ts";
import { createEngine } from "../engine.ts";
import type { Device } from "../kernels.ts";
import type { ComputeCaller } from "../worker-protocol.ts";
import { gradientLimits, referenceGradients, selfTest, worstDeviation } from "./self-test.ts";

/** An engine in this process. */
function callerOf(open: typeof openDevice): ComputeCaller {
  const engine = createEngine(open);
  const calls: Readonly<Record<string, unknown>> = engine;
  return {
    call: (method, ...args) => (calls[method] as (...args: unknown[]) => Promise<never>)(...args),
  };
}

const real = callerOf(openDevice);
const right = await referenceGradients(real);

describe("the self-test", () => {
  it("passes the processor, far below the limit", async () => {
    const test = await selfTest(real, { backend: "native", threads: 2 }, right);
    expect(test).toMatchObject({ passed: true, lossDeviation: null });
    expect(test.passed && test.worst.error).toBeLessThan(gradientLimits.f32 / 5);
  });

  it.skipIf(nativeInstructionSets("bf16").length === 0)(
    "passes the processor in bf16, which learns as well",
    async () => {
      const test = await selfTest(real, { backend: "native", threads: 1, precision: "bf16" }, right);
      expect(test).toMatchObject({ passed: true, lossDeviation: expect.any(Number) });
      expect(test.passed && test.worst.error, "it did not compute in f32").toBeGreaterThan(1e-4);
    },
  );

  it("refuses a rounding device that has right gradients, and yet learns otherwise than in f32", async () => {
    const fake = callerOf(async ({ precision }): Promise<Device> => {
      const device = await openDevice({ backend: "native", threads: 1 });
      if (precision === "f32") return device;
      const { kernels } = device;
      const adam: typeof kernels.adam = (parameters, gradients, first, second, options) =>
        kernels.adam(parameters, gradients, first, second, { ...options, momentRate: 2 * options.momentRate });
      return { ...device, kernels: { ...kernels, adam } };
    });
    expect(await selfTest(fake, { backend: "native", threads: 1, precision: "bf16" }, right)).toEqual({
      passed: false,
      reason: expect.stringMatching(
        /^in 30 steps of training the loss is [\d.]+ % off that of f32, allowed are 0.50 %$/,
      ),
    });
  });

  it("takes nothing that is not a number for right", () => {
    const broken = { ...right, gradients: right.gradients.map((value, index) => (index === 3 ? Number.NaN : value)) };
    expect(worstDeviation(broken, right, 1)).toEqual({
      tensor: "the gradient of embedding",
      error: Number.POSITIVE_INFINITY,
      limit: 1,
    });
    expect(worstDeviation({ ...right, lossSumNats: Number.NaN }, right, 1)).toMatchObject({ tensor: "loss" });
  });
});
