import fc from "fast-check";
import { expect, it, vi } from "vitest";
import { webGpuKernels } from "../../src/compute/backends/webgpu/kernels.ts";
import { WebGpuMemory } from "../../src/compute/backends/webgpu/memory.ts";
import { Pace } from "../../src/compute/backends/webgpu/pace.ts";
import { WebGpuQueue } from "../../src/compute/backends/webgpu/queue.ts";
import type { SubgroupMatrices } from "../../src/compute/backends/webgpu/shaders/matmul-by-matrices.ts";
import { bySubgroups, byTree } from "../../src/compute/backends/webgpu/shaders/reductions.ts";
import { slice } from "../../src/compute/kernels.ts";
import { openNullGpu } from "../compute/null-gpu.ts";
import { kernelCases } from "./kernels-cases.ts";

/** What every WebGPU adapter lets a program bind; some allow no more. */
const mostStorageBuffers = 8;
/** Of each kernel: enough for all of its options. */
const calls = { seed: 1, numRuns: 30 };

/** GPUs have these sizes, and others. */
const matricesOf = (side: number): SubgroupMatrices => ({ rows: side, columns: side, depth: side, subgroupSize: 32 });
const options = [
  ...(["f32", "f16"] as const).flatMap((precision) =>
    [byTree, bySubgroups].map((reductions) => ({ precision, reductions, matrices: null })),
  ),
  ...[8, 16].map((side) => ({ precision: "f16" as const, reductions: bySubgroups, matrices: matricesOf(side) })),
].map((option) => ({ ...option, by: option.reductions.by, side: option.matrices?.rows ?? 1 }));

it.each(options)(
  "every program in $precision, reducing by $by, and multiplying matrices of $side rows, is valid and has at most 8 storage buffers",
  async ({ precision, reductions, matrices }) => {
    const gpu = await openNullGpu();
    const layouts = vi.spyOn(gpu.device, "createBindGroupLayout");
    const memory = new WebGpuMemory(gpu);
    const queue = new WebGpuQueue(gpu, new Pace(1e9, () => 0));
    const kernels = webGpuKernels(memory, queue, { precision, reductions, matrices });
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
    expect((await gpu.device.popErrorScope())?.message).toBeUndefined();
    const storageBuffers = layouts.mock.calls.map(([{ label, entries }]) => {
      const storage = [...entries].filter(({ buffer }) => buffer?.type !== "uniform");
      return [label, storage.length] as const;
    });
    expect(storageBuffers.length).toBeGreaterThan(kernelCases.length);
    expect(storageBuffers.filter(([, count]) => count > mostStorageBuffers)).toEqual([]);
    gpu.device.destroy();
  },
);
