/** Device memory: allocated once, reused, and counted. It is given back when the device is closed. */
import type { Device, DeviceBuffer, Slice } from "../kernels.ts";
import { slice } from "../kernels.ts";

export interface Memory {
  /** Zeroed reals. Throws `DeviceMemoryError` when the device is full. */
  reals(length: number): Slice;
  /** Zeroed int32. */
  indices(length: number): Slice;
  /** What `allocate` allocates, or nothing when the device fills up on the way. */
  allOrNothing<T>(allocate: () => T): T;
  /** Elements allocated so far. */
  readonly elements: number;
}

export function createMemory(device: Device): Memory {
  const buffers: DeviceBuffer[] = [];
  const keep = (buffer: DeviceBuffer): Slice => {
    buffers.push(buffer);
    return slice(buffer);
  };
  return {
    reals: (length) => keep(device.allocate(length)),
    indices: (length) => keep(device.allocateIndices(length)),
    allOrNothing(allocate) {
      const before = buffers.length;
      try {
        return allocate();
      } catch (error) {
        for (const buffer of buffers.splice(before)) device.free(buffer);
        throw error;
      }
    },
    get elements() {
      return buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    },
  };
}

/** Matrices with one row per token, by name, and how wide each of them is. */
export type Widths<Name extends string> = Readonly<Record<Name, number>>;
export type Rows<Name extends string> = Readonly<Record<Name, Slice>>;

export function allocateRows<Name extends string>(memory: Memory, widths: Widths<Name>, rows: number): Rows<Name> {
  return mapWidths(widths, (_, width) => memory.reals(rows * width));
}

/** The first `rows` rows of each matrix. */
export function firstRows<Name extends string>(
  all: Rows<NoInfer<Name>>,
  widths: Widths<Name>,
  rows: number,
): Rows<Name> {
  return mapWidths(widths, (name, width) => slice(all[name].buffer, all[name].offset, rows * width));
}

function mapWidths<Name extends string>(widths: Widths<Name>, make: (name: Name, width: number) => Slice): Rows<Name> {
  const names = Object.keys(widths) as Name[];
  return Object.fromEntries(names.map((name) => [name, make(name, widths[name])])) as Record<Name, Slice>;
}
