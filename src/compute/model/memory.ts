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
  /** Lets `use` have what `allocate` allocates, and takes it back. Nothing else may be allocated meanwhile. */
  lend<T, Result>(allocate: () => T, use: (allocated: T) => Promise<Result>): Promise<Result>;
  /** Elements allocated so far. */
  readonly elements: number;
}

/** Bytes of an element: f32 or int32. (The reference back end, which is for tests, computes in float64.) */
export const elementBytes = 4;

export function createMemory(device: Pick<Device, "allocate" | "allocateIndices" | "free">): Memory {
  const buffers: DeviceBuffer[] = [];
  const keep = (buffer: DeviceBuffer): Slice => {
    buffers.push(buffer);
    return slice(buffer);
  };
  const giveBack = (first: number) => {
    for (const buffer of buffers.splice(first)) device.free(buffer);
  };
  const allOrNothing = <T>(allocate: () => T): T => {
    const before = buffers.length;
    try {
      return allocate();
    } catch (error) {
      giveBack(before);
      throw error;
    }
  };
  return {
    reals: (length) => keep(device.allocate(length)),
    indices: (length) => keep(device.allocateIndices(length)),
    allOrNothing,
    async lend(allocate, use) {
      const before = buffers.length;
      const allocated = allOrNothing(allocate);
      try {
        return await use(allocated);
      } finally {
        giveBack(before);
      }
    },
    get elements() {
      return buffers.reduce((sum, buffer) => sum + buffer.length, 0);
    },
  };
}

/** Memory that only counts: nothing can be stored in it. */
export function countedMemory(): Memory {
  return createMemory({
    allocate: (length) => ({ length, element: "real" }),
    allocateIndices: (length) => ({ length, element: "index" }),
    free: () => undefined,
  });
}

/** How many elements `allocate` takes, found out without taking any. */
export function countElements(allocate: (memory: Memory) => unknown): number {
  const memory = countedMemory();
  allocate(memory);
  return memory.elements;
}

/** A vector of zeros that takes up memory only from its first use on. */
export interface LazyVector {
  readonly length: number;
  /** Null until the first use. */
  readonly current: Slice | null;
  /** Throws `DeviceMemoryError`. */
  use(): Slice;
}

export function lazyReals(memory: Memory, length: number): LazyVector {
  let current: Slice | null = null;
  return {
    length,
    get current() {
      return current;
    },
    use() {
      current ??= memory.reals(length);
      return current;
    },
  };
}

/** Matrices with one row per token, by name, and how wide each of them is. */
export type Widths<Name extends string> = Readonly<Record<Name, number>>;
export type Rows<Name extends string> = Readonly<Record<Name, Slice>>;

export function allocateRows<Name extends string>(memory: Memory, widths: Widths<Name>, rows: number): Rows<Name> {
  return mapNames(widths, (name) => memory.reals(rows * widths[name]));
}

/** The first `rows` rows of each matrix. */
export function firstRows<Name extends string>(
  all: Rows<NoInfer<Name>>,
  widths: Widths<Name>,
  rows: number,
): Rows<Name> {
  return mapNames(widths, (name) => rowsOf(all[name], widths[name], 0, rows));
}

/**
 * Matrices that take turns in one piece of memory: for each of them, how many columns lie before it, and how wide it is. Those
 * that are needed at the same time lie side by side.
 */
export type Places<Name extends string> = Readonly<Record<Name, { readonly after: number; readonly width: number }>>;

/** Columns that the memory of all `places` must have. */
export function widthOf(places: Places<string>): number {
  return Math.max(...Object.values(places).map(({ after, width }) => after + width));
}

/** Cuts shared memory into the matrices of `places`, each with so many rows. */
export function placeRows<Name extends string>(shared: Slice, places: Places<Name>, rows: number): Rows<Name> {
  return mapNames(places, (name) => {
    const { after, width } = places[name];
    return slice(shared.buffer, shared.offset + rows * after, rows * width);
  });
}

/** So many rows of a matrix, from row `first` on. */
export function rowsOf(matrix: Slice, width: number, first: number, rows: number): Slice {
  return slice(matrix.buffer, matrix.offset + first * width, rows * width);
}

function mapNames<Name extends string, To>(named: Readonly<Record<Name, unknown>>, make: (name: Name) => To) {
  const names = Object.keys(named) as Name[];
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Record<Name, To>;
}
