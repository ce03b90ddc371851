import { type Slice, slice } from "../../kernels.ts";
import type { WebGpuBuffer, WebGpuMemory } from "./memory.ts";
import type { WebGpuQueue } from "./queue.ts";

/**
 * Cosines and sines for rotary embeddings: [position, half, 2]. Computed here in float64, since GPUs are free to be wrong by
 * 2⁻¹¹ in a sine, and by anything outside −π … π. One table per base and head size, grown to the positions asked for.
 */
export function createRotaryTables(memory: WebGpuMemory, queue: WebGpuQueue) {
  const tables = new Map<string, WebGpuBuffer>();

  return {
    /** At least `positions` rows. */
    table(base: number, headDim: number, positions: number): Slice {
      const key = `${base} ${headDim}`;
      const known = tables.get(key);
      if (known !== undefined && known.length >= positions * headDim) return slice(known);
      const values = turns(base, headDim, 2 ** Math.ceil(Math.log2(positions)));
      const table = memory.allocate("real", values.length);
      queue.write(slice(table), values);
      if (known !== undefined) {
        queue.release();
        memory.free(known);
      }
      tables.set(key, table);
      return slice(table);
    },
  };
}

function turns(base: number, headDim: number, positions: number): Float32Array {
  const values = new Float32Array(positions * headDim);
  for (let position = 0; position < positions; position++)
    for (let c = 0; c < headDim; c += 2) {
      const angle = position * base ** (-c / headDim);
      values[position * headDim + c] = Math.cos(angle);
      values[position * headDim + c + 1] = Math.sin(angle);
    }
  return values;
}
