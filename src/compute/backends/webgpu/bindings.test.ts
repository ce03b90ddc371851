import { expect, it } from "vitest";
import { DeviceMemoryError, slice } from "../../kernels.ts";
import { bind, largestOperand } from "./bindings.ts";
import { WebGpuBuffer } from "./memory.ts";

const limit = { elements: 1024, device: "a GPU" };
const fakeGpuBuffer = {} as GPUBuffer;

it("takes an operand of the largest size wherever it starts, and refuses a larger one with both numbers", () => {
  const buffer = new WebGpuBuffer(0, "real", 5000, fakeGpuBuffer);
  const largest = largestOperand(limit.elements);
  for (let start = 0; start < 200; start++) {
    const { distinct, operands } = bind([slice(buffer, start, largest)], limit);
    expect(distinct[0]?.length).toBeLessThanOrEqual(limit.elements);
    expect((distinct[0]?.first ?? 0) + (operands[0]?.start ?? 0)).toBe(start);
  }
  const refused = () => bind([slice(buffer, 63, largest + 1)], limit);
  expect(refused).toThrow(DeviceMemoryError);
  expect(refused).toThrow("4100 bytes: kernels see 4096 bytes at once");
});
