import fc from "fast-check";
import { expect, it, vi } from "vitest";
import { webGpuKernels } from "../../src/compute/backends/webgpu/kernels.ts";
import { WebGpuMemory } from "../../src/compute/backends/webgpu/memory.ts";
import { Pace } from "../../src/compute/backends/webgpu/pace.ts";
import { WebGpuQueue } from "../../src/compute/backends/webgpu/queue.ts";
import { bySubgroups, byTree } from "../../src/compute/backends/webgpu/shaders/reductions.ts";
import { slice } from "../../src/compute/kernels.ts";
import { openNullGpu } from "../compute/null-gpu.ts";
import { kernelCases } from "./kernels-cases.ts";

/** What every WebGPU adapter lets a program bind; some allow no more. */
const mostStorageBuffers = 8;
/** Of each kernel: enough for all of its options. */
const calls = { seed: 1, numRuns: 30 };

const options = (["f32", "f16"] as const).flatMap((precision) =>
  [byTree, bySubgroups].map((reductions) => ({ precision, reductions, by: reductions.by })),
);

it.each(options)(
  "every program in $precision, reducing by $by, is valid and has at most 8 storage buffers",
  async ({ precision, reductions }) => {
    const gpu = await openNullGpu();
    const layouts = vi.spyOn(gpu.device, "createBindGroupLayout");
    const memory = new WebGpuMemory(gpu);
    const queue = new WebGpuQueue(gpu, new Pace(1e9, () => 0));
    const kernels = webGpuKernels(memory, queue, { precision, reductions });
    gpu.device.pushErrorScope("validation");
    for (const { small } of kernelCases)
      for (const { operands, run } of fc.sample(small, calls)) {
        const alone = Object.entries(operands).map(([name, values]) => {
          const element = values instanceof Int32Array ? "index" : "real";
          return [name, slice(memory.allocate(element, values.length))] as const;
        });
        run(kernels, Object.fromEntries(alone));
      }
    queue.submit();
    expect(await gpu.device.popErrorScope()).toBeNull();
    const storageBuffers = layouts.mock.calls.map(([{ label, entries }]) => {
      const storage = [...entries].filter(({ buffer }) => buffer?.type !== "uniform");
      return [label, storage.length] as const;
    });
    expect(storageBuffers.length).toBeGreaterThan(kernelCases.length);
    expect(storageBuffers.filter(([, count]) => count > mostStorageBuffers)).toEqual([]);
    gpu.device.destroy();
  },
);
