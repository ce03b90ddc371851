import { afterEach, describe, expect, it } from "vitest";
import { createReferenceDevice } from "../../src/compute/backends/reference/device.ts";
import { findAdapter, type Gpu, listAdapters, openGpu } from "../../src/compute/backends/webgpu/adapter.ts";
import { createWebGpuDevice, deviceOn, webGpuAvailability } from "../../src/compute/backends/webgpu/device.ts";
import { webGpuKernels } from "../../src/compute/backends/webgpu/kernels.ts";
import { WebGpuMemory } from "../../src/compute/backends/webgpu/memory.ts";
import { Pace } from "../../src/compute/backends/webgpu/pace.ts";
import { lanes, maximumGroupsPerAxis } from "../../src/compute/backends/webgpu/program.ts";
import { WebGpuQueue } from "../../src/compute/backends/webgpu/queue.ts";
import { bySubgroups, byTree } from "../../src/compute/backends/webgpu/shaders/reductions.ts";
import { DeviceLostError, DeviceMemoryError, DeviceUnavailableError, slice } from "../../src/compute/kernels.ts";
import { withFakeSubgroupMatrices } from "../compute/fake-subgroup-matrices.ts";
import { difference } from "../compute/small-model.ts";
import { describeWithWebGpu } from "../compute/webgpu-adapter.ts";
import { describeKernels, describeTiles } from "./kernels.ts";
import { RandomValues } from "./kernels-calls.ts";

const rotary = { batch: 1, heads: 1, headDim: 4, base: 1e4, positionOffset: 0 };
const tolerances = { f32: 1e-5, f16: 1e-2 };

describeWithWebGpu(({ name: adapter, precisions }) => {
  describe.each(["f32", "f16"] as const)("in %s", (precision) => {
    if (!precisions.includes(precision)) {
      it.skip(`${adapter} has no ${precision}`);
      return;
    }
    const createDevice = () => createWebGpuDevice({ adapter, precision });
    describeKernels(`webgpu, ${precision}`, createDevice, tolerances[precision]);
    // Lavapipe takes minutes to compile attention over heads of more than 64 channels; whole models are tried on it too.
    const isWorthwhile = (kernel: string) => !adapter.startsWith("llvmpipe") || !kernel.startsWith("attention");
    describeTiles(`webgpu, ${precision}`, createDevice, createReferenceDevice, tolerances[precision], isWorthwhile);
  });

  describe.runIf(precisions.includes("f16"))("with subgroup matrices, its own or fake ones", () => {
    const createDevice = async () => {
      const found = await findAdapter({ adapter });
      const gpu = await openGpu(found);
      const { subgroupMinSize, subgroupMaxSize } = found.info;
      const lacksThem = gpu.matrices === null && subgroupMaxSize !== undefined && subgroupMinSize === subgroupMaxSize;
      return deviceOn(lacksThem ? withFakeSubgroupMatrices(gpu, subgroupMaxSize) : gpu, "f16");
    };
    const isWorthwhile = (kernel: string) => kernel === "matmul";
    describeTiles("webgpu, f16 by matrices", createDevice, createReferenceDevice, tolerances.f16, isWorthwhile);
  });

  describe("the WebGPU back end", () => {
    let gpu: Gpu;
    const open = async () => {
      gpu = await openGpu(await findAdapter({ adapter }));
      return deviceOn(gpu);
    };
    afterEach(() => gpu.device.destroy());

    it("lets all operands of a kernel lie in one buffer", async () => {
      const device = await open();
      const values = Float32Array.from(new RandomValues(1).reals(400, 0.1));
      const betas = { gradientScale: 1, beta1: 0.9, beta2: 0.95 };
      const rates = { momentRate: 0.4, gradientRate: 0.1, rootScale: 2.6, epsilon: 1e-8, decayRate: 0.01 };
      const results = [];
      for (const lengths of [[400], [100, 100, 100, 100]]) {
        const buffers = lengths.map((length) => device.allocate(length));
        const parts = buffers.flatMap((buffer) =>
          Array.from({ length: buffer.length / 100 }, (_, i) => slice(buffer, 100 * i, 100)),
        );
        const [a, b, c, d] = parts;
        if (!a || !b || !c || !d) throw new Error("four parts");
        parts.forEach((part, i) => {
          device.upload(part, values.subarray(100 * i, 100 * (i + 1)));
        });
        device.kernels.adam(a, b, c, d, { ...betas, ...rates });
        device.kernels.matmul(c, a, b, { m: 10, n: 10, k: 10, transposeA: true });
        results.push(await Promise.all(parts.map((part) => device.download(part))));
      }
      expect(results[0]).toEqual(results[1]);
    });

    it("computes the same in many short submits as in one", async () => {
      await open();
      const results = [];
      for (const operationsPerMs of [1, 1e9]) {
        const memory = new WebGpuMemory(gpu);
        const queue = new WebGpuQueue(gpu, new Pace(operationsPerMs, () => 0));
        const kernels = webGpuKernels(memory, queue, { precision: "f32", reductions: byTree });
        const [m, n, k] = [130, 70, 20];
        const [out, a, b] = [m * n, m * k, k * n].map((length) => slice(memory.allocate("real", length)));
        if (!out || !a || !b) throw new Error("three matrices");
        for (const operand of [a, b])
          queue.write(operand, Float32Array.from(new RandomValues(2).reals(operand.length)));
        kernels.matmul(out, a, b, { m, n, k });
        kernels.swigluForward(out, out, out);
        results.push(await queue.read(out));
      }
      expect(results[0]).toEqual(results[1]);
    });

    it("reaches elements that lie behind the last workgroup of one axis", async () => {
      await open();
      const memory = new WebGpuMemory(gpu);
      const queue = new WebGpuQueue(gpu, new Pace(1e12, () => 0));
      const out = slice(memory.allocate("real", maximumGroupsPerAxis * lanes + 300));
      webGpuKernels(memory, queue, { precision: "f32", reductions: byTree }).fill(out, 7);
      expect(await queue.read(slice(out.buffer, out.length - 600))).toEqual(new Float32Array(600).fill(7));
    });

    it("comes to the same sums and maxima in a tree as by subgroups, which most GPUs have", async () => {
      await open();
      const [rows, width] = [3, 700];
      const values = Float32Array.from(new RandomValues(4).reals(rows * width));
      const found = [];
      for (const reductions of gpu.device.features.has("subgroups") ? [byTree, bySubgroups] : [byTree]) {
        const memory = new WebGpuMemory(gpu);
        const queue = new WebGpuQueue(gpu, new Pace(1e6, () => 0));
        const kernels = webGpuKernels(memory, queue, { precision: "f32", reductions });
        const [out, x] = [slice(memory.allocate("real", values.length)), slice(memory.allocate("real", values.length))];
        const [sums, gain] = [slice(memory.allocate("real", rows)), slice(memory.allocate("real", width))];
        queue.write(x, values);
        kernels.fill(gain, 1);
        kernels.rmsNormForward(out, sums, x, gain, { rows, width, epsilon: 1e-5 });
        kernels.crossEntropy(sums, x, slice(memory.allocate("index", rows)), { rows, width, gradientScale: 1 });
        kernels.squaredNorm(slice(sums.buffer, 0, 1), out);
        found.push(await Promise.all([out, x, sums].map((all) => queue.read(all))));
      }
      const [inTree = [], ...others] = found;
      for (const other of others)
        inTree.forEach((expected, index) => {
          expect(difference(other[index] ?? new Float32Array(), expected)).toBeLessThan(1e-6);
        });
    });

    it("takes shared memory", async () => {
      const device = await open();
      const values = new Float32Array(new SharedArrayBuffer(16));
      values.set([1, 2, 3, 4]);
      const target = slice(device.allocate(4));
      device.upload(target, values);
      expect(await device.download(target)).toEqual(Float32Array.of(1, 2, 3, 4));
    });

    it("refuses a buffer that is larger than the GPU allows, with both numbers", async () => {
      const device = await open();
      const { maxBufferSize } = gpu.device.limits;
      const elements = Math.floor(maxBufferSize / 4) + 1;
      expect(() => device.allocate(elements)).toThrow(
        expect.objectContaining({ name: DeviceMemoryError.name, requestedBytes: elements * 4 }),
      );
      expect(() => device.allocate(elements)).toThrow(
        new RegExp(`${elements * 4} bytes: it allows ${maxBufferSize} bytes`),
      );
    });

    it("computes the same on buffers that it cannot bind as a whole, and refuses operands that it cannot", async () => {
      await open();
      const length = 40_000;
      const betas = { gradientScale: 1, beta1: 0.9, beta2: 0.95 };
      const rates = { momentRate: 0.4, gradientRate: 0.1, rootScale: 2.6, epsilon: 1e-8, decayRate: 0.01 };
      const results = [];
      for (const bindingElements of [2 ** 20, 17_000]) {
        const memory = new WebGpuMemory(gpu);
        const queue = new WebGpuQueue(gpu, new Pace(1e6, () => 0), bindingElements);
        const kernels = webGpuKernels(memory, queue, { precision: "f32", reductions: byTree });
        const [weights, moments] = [memory.allocate("real", 2 * length), memory.allocate("real", 2 * length)];
        queue.write(slice(weights), Float32Array.from(new RandomValues(3).reals(2 * length, 0.1)));
        const half = (buffer: typeof weights, index: number) => slice(buffer, index * length, length);
        const [parameters, gradients] = [half(weights, 0), half(weights, 1)];
        kernels.fill(slice(moments), 0.5);
        kernels.adam(parameters, gradients, half(moments, 0), half(moments, 1), { ...betas, ...rates });
        kernels.addScaled(half(moments, 0), parameters, 2);
        const [a, b] = [slice(weights, 101, 30 * 70), slice(weights, 77_003, 70 * 40)];
        kernels.matmul(slice(moments, 5, 30 * 40), a, b, { m: 30, n: 40, k: 70 });
        const norm = slice(memory.allocate("real", 1));
        kernels.squaredNorm(norm, slice(moments));
        results.push(await Promise.all([slice(weights), slice(moments), norm].map((all) => queue.read(all))));
        if (bindingElements < length)
          expect(() => kernels.rotary(parameters, { ...rotary, sequence: length / 4 })).toThrow(DeviceMemoryError);
      }
      expect(results[0]).toEqual(results[1]);
    });

    it("throws DeviceLostError from everything once the GPU is gone", async () => {
      const device = await open();
      const buffer = slice(device.allocate(4));
      const reading = device.download(buffer);
      gpu.device.destroy();
      await expect(reading).rejects.toThrow(DeviceLostError);
      await expect(device.download(buffer)).rejects.toThrow(DeviceLostError);
      for (const call of [
        () => device.kernels.fill(buffer, 1),
        () => device.allocate(1),
        () => device.upload(buffer, new Float32Array(4)),
      ])
        expect(call).toThrow(DeviceLostError);
    });

    it("lists the GPUs that can be opened, by the names that they are opened by", async () => {
      await open();
      const listed = await listAdapters();
      expect(listed.length).toBeGreaterThan(0);
      expect(listed.map(({ software }) => software).indexOf(false)).toBeLessThan(1);
      for (const { name, driver, precisions } of listed) {
        expect(driver).not.toBe("");
        expect(precisions[0]).toBe("f32");
        expect(await webGpuAvailability({ adapter: name })).toMatchObject({ available: true });
      }
    });

    it("says which adapters there are when the one asked for is not among them", async () => {
      await open();
      const found = await webGpuAvailability();
      const missing = await webGpuAvailability({ adapter: "no such adapter" });
      expect(found).toMatchObject({ available: true });
      expect(missing).toMatchObject({ available: false, reason: expect.stringMatching(/adapters:\s.*name:/) });
      await expect(createWebGpuDevice({ adapter: "no such adapter" })).rejects.toThrow(DeviceUnavailableError);
    });
  });
});
