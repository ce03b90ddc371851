import { describe, expect, it } from "vitest";
import {
  createNativeDevice,
  nativeAvailability,
  nativeInstructionSets,
} from "../../src/compute/backends/native/device.ts";
import { createReferenceDevice } from "../../src/compute/backends/reference/device.ts";
import { describeAgreement, describeKernels } from "./kernels.ts";

describeKernels("reference", createReferenceDevice, 1e-8);
describeKernels("native", () => createNativeDevice({ threads: 2 }), 1e-5);

for (const instructionSet of nativeInstructionSets())
  describeAgreement(
    `native, ${instructionSet}`,
    (threads) => createNativeDevice({ threads, instructionSet }),
    createReferenceDevice,
    1e-5,
  );

for (const instructionSet of nativeInstructionSets("bf16")) {
  const createDevice = (threads: number) => createNativeDevice({ threads, precision: "bf16", instructionSet });
  describeKernels(`native, ${instructionSet}`, () => createDevice(2), 2e-2);
  describeAgreement(`native, ${instructionSet}`, createDevice, createReferenceDevice, 2e-2);
}

describe("the native back end", () => {
  it("says what it runs on", () => {
    const [fastest] = nativeInstructionSets();
    expect(nativeAvailability()).toEqual({
      available: true,
      description: expect.stringContaining(`, ${fastest}`),
      instructionSet: fastest,
    });
  });

  it("refuses a number of threads or an instruction set that it cannot have", () => {
    expect(() => createNativeDevice({ threads: 0 })).toThrow(RangeError);
    expect(() => createNativeDevice({ threads: 1, instructionSet: "MMX" })).toThrow(/no kernels for MMX/);
  });
});
