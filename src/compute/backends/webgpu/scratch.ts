import { type Slice, slice } from "../../kernels.ts";
import type { WebGpuBuffer, WebGpuMemory } from "./memory.ts";
import type { WebGpuQueue } from "./queue.ts";

/**
 * Working space of single kernels. What a call takes is valid until the next call takes some: kernels run in order, so they
 * can share it. It grows to what the largest call needs.
 */
export interface Scratch {
  reals(length: number): Slice;
  /** Filled with `values`. */
  indices(values: Int32Array): Slice;
}

export function createScratch(memory: WebGpuMemory, queue: WebGpuQueue): Scratch {
  const buffers: Partial<Record<"real" | "index", WebGpuBuffer>> = {};

  function take(element: "real" | "index", length: number): Slice {
    let buffer = buffers[element];
    if (buffer === undefined || buffer.length < length) {
      const larger = memory.allocate(element, length);
      if (buffer !== undefined) {
        queue.release();
        memory.free(buffer);
      }
      buffer = larger;
      buffers[element] = buffer;
    }
    return slice(buffer, 0, length);
  }

  return {
    reals: (length) => take("real", length),
    indices(values) {
      const taken = take("index", values.length);
      queue.write(taken, values);
      return taken;
    },
  };
}
