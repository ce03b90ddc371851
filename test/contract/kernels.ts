/** The one contract suite of `src/compute/kernels.ts`; each back end's test calls it with a way to open a device. */
import { createHash } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Device, DeviceMemoryError, type Slice, slice } from "../../src/compute/kernels.ts";
import type { KernelCall } from "./kernels-calls.ts";
import { kernelCases } from "./kernels-cases.ts";
import { relativeDistance } from "./kernels-formulas.ts";

/** fast-check prints it with every counterexample. */
const seed = 20_261_123;

/**
 * Elements before and after every operand, which no kernel may touch. None where a sanitizer watches the ends of buffers, which
 * sees reads as well.
 */
const margin = Number(process.env.KERNEL_OPERAND_MARGIN ?? 5);
const marginValue = 77;

/**
 * @param tolerance of ‖result − expected‖ / ‖expected‖, for results against the formulas; gradients by difference quotients
 * are themselves exact to about 1e-8
 */
export function describeKernels(name: string, createDevice: () => Device | Promise<Device>, tolerance: number): void {
  describe(`Kernels: ${name} (seed ${seed})`, () => {
    let device: Device;
    beforeAll(async () => {
      device = await createDevice();
    });
    afterAll(() => device.close());

    describe.each(kernelCases)("$name", ({ small, threaded }) => {
      it("computes its formula, within its operands, and leaves its inputs alone", () =>
        fc.assert(
          fc.asyncProperty(small, async (call) => {
            const results = await execute(device, call);
            for (const [operand, expected] of Object.entries({ ...realOperands(call), ...call.expected() }))
              expectClose(results, operand, expected, tolerance);
          }),
          { seed, numRuns: 20 },
        ));

      it("gives the same bits every time", async () => {
        const call = threaded();
        expect(bitsOf(await execute(device, call))).toEqual(bitsOf(await execute(device, call)));
      });
    });

    describe("memory", () => {
      it("starts as zeros", async () => {
        const buffer = device.allocate(33);
        expect(await device.downloadDouble(slice(buffer))).toEqual(new Float64Array(33));
        device.free(buffer);
      });

      it("comes back as it was uploaded, in either precision", async () => {
        const buffer = device.allocate(3);
        device.upload(slice(buffer), Float32Array.of(1, -0.5, 3));
        expect(await device.download(slice(buffer, 1))).toEqual(Float32Array.of(-0.5, 3));
        expect(await device.downloadDouble(slice(buffer, 0, 2))).toEqual(Float64Array.of(1, -0.5));
        const target = new Float32Array(4);
        await device.download(slice(buffer, 1), target.subarray(2));
        expect(target).toEqual(Float32Array.of(0, 0, -0.5, 3));
        await expect(device.download(slice(buffer), target)).rejects.toThrow(RangeError);
        device.free(buffer);
      });

      it("throws when it is used after it was freed", async () => {
        const buffer = device.allocate(4);
        device.free(buffer);
        expect(() => device.kernels.fill(slice(buffer), 1)).toThrow(/freed/);
        expect(() => device.upload(slice(buffer), new Float32Array(4))).toThrow(/freed/);
        await expect(device.download(slice(buffer))).rejects.toThrow(/freed/);
        expect(() => device.free(buffer)).toThrow(/not a live one/);
      });

      it("is refused with DeviceMemoryError when there is not enough, and the device goes on", async () => {
        expect(() => device.allocate(2 ** 46)).toThrow(DeviceMemoryError);
        expect(() => device.allocateIndices(2 ** 46)).toThrow(DeviceMemoryError);
        const buffer = device.allocate(1);
        device.kernels.fill(slice(buffer), 2);
        expect(await device.download(slice(buffer))).toEqual(Float32Array.of(2));
        device.free(buffer);
      });

      it("belongs to one device", async () => {
        const other = await createDevice();
        const buffer = other.allocate(1);
        expect(() => device.free(buffer)).toThrow(/not a live one/);
        other.close();
        expect(() => other.kernels.fill(slice(buffer), 1)).toThrow();
      });
    });

    describe("arguments", () => {
      const allocated = (length: number, value = 0.5): Slice => {
        const whole = slice(device.allocate(length));
        device.kernels.fill(whole, value);
        return whole;
      };

      it("throw when a slice does not fit its shape", () => {
        const [a, b, out] = [allocated(6), allocated(6), allocated(4)];
        expect(() => device.kernels.matmul(out, a, b, { m: 2, n: 2, k: 2 })).toThrow(RangeError);
        expect(() => device.kernels.add(out, a, b)).toThrow(RangeError);
        expect(() => device.kernels.rotary(a, { ...rotaryShape, heads: 2, headDim: 3 })).toThrow(/odd/);
        expect(() => device.kernels.attentionForward(out, out, a, b, b, { ...attentionShape, queries: 2 })).toThrow(
          /2 queries but only 1 keys/,
        );
      });

      it("throw when an output overlaps an input", () => {
        const { buffer } = allocated(9);
        const part = (offset: number) => slice(buffer, offset, 4);
        const shape = { m: 2, n: 2, k: 2 };
        expect(() => device.kernels.matmul(part(0), part(3), part(5), shape)).toThrow(/overlaps/);
      });

      it("throw when reals are given for indices, or a token is outside the vocabulary", () => {
        const [table, out, tokens] = [allocated(6), allocated(2), slice(device.allocateIndices(1))];
        const embed = (ids: Slice) => device.kernels.embeddingForward(out, table, ids, { rows: 1, width: 2 });
        expect(() => embed(allocated(1))).toThrow(RangeError);
        expect(() => device.uploadIndices(allocated(1), Int32Array.of(1))).toThrow(RangeError);
        for (const outside of [-1, 3]) {
          device.uploadIndices(tokens, Int32Array.of(outside));
          expect(() => embed(tokens)).toThrow(RangeError);
        }
      });

      it("may alias where the contract says so", async () => {
        const [gate, up, dOut] = [allocated(20, 0.3), allocated(20, -2), allocated(20, 1.5)];
        const [dGate, dUp, activated] = [allocated(20), allocated(20), allocated(20)];
        device.kernels.swigluBackward(dGate, dUp, activated, dOut, gate, up);
        device.kernels.add(dOut, dOut, dOut);
        device.kernels.addScaled(dOut, dOut, -0.5);
        device.kernels.swigluBackward(gate, up, dOut, dOut, gate, up);
        expect(await device.download(gate)).toEqual(await device.download(dGate));
        expect(await device.download(up)).toEqual(await device.download(dUp));
        expect(await device.download(dOut)).toEqual(await device.download(activated));
      });
    });

    it("lets NaN through to the loss, so that a diverging run is seen", async () => {
      const [out, a, b, losses] = [40, 4, 40, 4].map((length) => slice(device.allocate(length)));
      if (!out || !a || !b || !losses) throw new Error("four slices");
      const targets = slice(device.allocateIndices(4));
      device.upload(a, Float32Array.of(1, 1, Number.NaN, 1));
      device.kernels.matmul(out, a, slice(b.buffer, 0, 10), { m: 4, n: 10, k: 1 });
      device.kernels.crossEntropy(losses, out, targets, { rows: 4, width: 10, gradientScale: 1 });
      expect(Array.from(await device.download(losses), Number.isNaN)).toEqual([false, false, true, false]);
    });
  });
}

/** Two devices agree on every kernel over larger shapes; the reference device stands for the formulas here. */
export function describeAgreement(
  name: string,
  createDevice: (threads: number) => Device,
  createReference: () => Device,
  tolerance: number,
): void {
  describe(`Kernels: ${name} against the reference (seed ${seed})`, () => {
    const reference = createReference();
    const devices = [1, 2, 3].map(createDevice);
    const [single] = devices;
    afterAll(() => {
      for (const device of [reference, ...devices]) device.close();
    });

    describe.each(kernelCases)("$name", ({ large, threaded }) => {
      it("agrees over tiles, blocks and tails", () =>
        fc.assert(
          fc.asyncProperty(large, fc.constantFrom(...devices), (call, device) =>
            expectAgreement(call, device, reference, tolerance),
          ),
          { seed, numRuns: 12 },
        ));

      it("gives the same bits with any number of threads, and agrees", async () => {
        const call = threaded();
        const [alone, ...shared] = await Promise.all(devices.map((device) => execute(device, call)));
        for (const results of shared) expect(bitsOf(results)).toEqual(bitsOf(alone ?? {}));
        for (const [operand, values] of Object.entries(await execute(reference, call)))
          expectClose(alone ?? {}, operand, values, tolerance);
      });
    });

    it("names its threads", () => {
      expect(devices.map(({ description }) => description.threads)).toEqual([1, 2, 3]);
      expect(single?.description.name).toMatch(/1 thread,/);
    });
  });
}

/** As the first half of `describeAgreement`, for a device that comes alone and is slow. */
export function describeTiles(
  name: string,
  createDevice: () => Promise<Device>,
  createReference: () => Device,
  tolerance: number,
  isWorthwhile: (kernel: string) => boolean = () => true,
): void {
  describe(`Kernels: ${name} against the reference (seed ${seed})`, () => {
    const reference = createReference();
    let device: Device;
    beforeAll(async () => {
      device = await createDevice();
    });
    afterAll(() => {
      for (const each of [reference, device]) each.close();
    });

    it.each(kernelCases.filter((each) => isWorthwhile(each.name)))(
      "$name agrees over tiles, blocks and tails",
      ({ large }) =>
        fc.assert(
          fc.asyncProperty(large, (call) => expectAgreement(call, device, reference, tolerance)),
          { seed, numRuns: 8 },
        ),
    );
  });
}

async function expectAgreement(call: KernelCall, device: Device, reference: Device, tolerance: number): Promise<void> {
  const [results, expected] = [await execute(device, call), await execute(reference, call)];
  for (const [operand, values] of Object.entries(expected)) expectClose(results, operand, values, tolerance);
}

const rotaryShape = { batch: 1, sequence: 1, base: 10_000, positionOffset: 0 };
const attentionShape = { batch: 1, keys: 1, heads: 1, keyValueHeads: 1, headDim: 1 };

function realOperands({ operands }: KernelCall): Record<string, Float64Array> {
  return Object.fromEntries(
    Object.entries(operands).flatMap(([operand, values]) =>
      values instanceof Float64Array ? [[operand, values]] : [],
    ),
  );
}

/** Runs one call on operands that lie inside larger buffers, and returns all of its real operands afterwards. */
async function execute(device: Device, call: KernelCall): Promise<Record<string, Float64Array>> {
  const slices = Object.fromEntries(
    Object.entries(call.operands).map(([operand, values]) => [operand, placed(device, values)]),
  );
  call.run(device.kernels, slices);
  const results: Record<string, Float64Array> = {};
  for (const [operand, { buffer, offset, length }] of Object.entries(slices)) {
    if (buffer.element === "real") {
      const all = await device.downloadDouble(slice(buffer));
      const outside = [...all.subarray(0, offset), ...all.subarray(offset + length)];
      expect(outside, `around ${operand}`).toEqual(outside.map(() => marginValue));
      results[operand] = all.slice(offset, offset + length);
    }
    device.free(buffer);
  }
  return results;
}

/** Stands for the exact bits of the results; comparing large arrays element by element takes seconds. */
function bitsOf(results: Readonly<Record<string, Float64Array>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(results).map(([operand, values]) => [operand, createHash("sha256").update(values).digest("hex")]),
  );
}

function placed(device: Device, values: Float64Array | Int32Array): Slice {
  if (values instanceof Int32Array) {
    const target = slice(device.allocateIndices(values.length));
    device.uploadIndices(target, values);
    return target;
  }
  const buffer = device.allocate(values.length + 2 * margin);
  device.kernels.fill(slice(buffer), marginValue);
  const target = slice(buffer, margin, values.length);
  device.upload(target, values);
  return target;
}

function expectClose(
  results: Readonly<Record<string, Float64Array>>,
  operand: string,
  expected: Float64Array,
  tolerance: number,
): void {
  const distance = relativeDistance(results[operand] ?? new Float64Array(), expected);
  expect(distance, `relative distance of ${operand}`).toBeLessThanOrEqual(tolerance);
}
