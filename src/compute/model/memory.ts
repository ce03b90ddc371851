/** Device memory that belongs together: allocated once, counted, and given back as one. */
import type { Device, Slice } from "../kernels.ts";
import { slice } from "../kernels.ts";

export interface Memory {
  /** Zeroed reals. Throws `DeviceMemoryError` when the device is full. */
  reals(length: number): Slice;
  /** Zeroed int32. */
  indices(length: number): Slice;
  /** Elements allocated so far. */
  readonly elements: number;
}

export function createMemory(device: Device): Memory {
  let elements = 0;
  const count = (part: Slice): Slice => {
    elements += part.length;
    return part;
  };
  return {
    reals: (length) => count(slice(device.allocate(length))),
    indices: (length) => count(slice(device.allocateIndices(length))),
    get elements() {
      return elements;
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
