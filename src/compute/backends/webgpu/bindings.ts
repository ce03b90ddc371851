/**
 * Which part of its buffers a kernel binds. A binding is limited, on some GPUs to 128 MiB, while a stage's weights are one
 * buffer, as large as buffers get: of a buffer that cannot be bound as a whole, a kernel sees the part that its operands are in.
 */
import { DeviceMemoryError, type Slice } from "../../kernels.ts";
import { bufferOf, elementBytes, type WebGpuBuffer } from "./memory.ts";

/** Elements that may be bound at once, and whose limit that is. */
export interface BindingLimit {
  readonly elements: number;
  readonly device: string;
}

/** A part of a buffer, in elements. */
export interface Binding {
  readonly buffer: WebGpuBuffer;
  readonly first: number;
  readonly length: number;
}

export interface Bindings {
  readonly distinct: readonly Binding[];
  /** By operand: which of them it is in, and where in that it starts. */
  readonly operands: readonly { readonly binding: number; readonly start: number }[];
  /** Those that are not the only ones of their buffer. */
  readonly apart: readonly number[];
}

/** Bindings start at multiples of 256 bytes. */
const alignment = 256 / elementBytes;

/** Elements of an operand that can be bound wherever in its buffer it starts. */
export function largestOperand(bindingElements: number): number {
  return bindingElements - (alignment - 1);
}

/**
 * One binding for all operands of a buffer, since no two of a kernel's bindings may overlap where one of them is written;
 * one for each where they are too far apart for that. Throws `DeviceMemoryError` when an operand is too large.
 */
export function bind(slices: readonly Slice[], limit: BindingLimit): Bindings {
  const distinct: Binding[] = [];
  const bindingOf = new Map<Slice, number>();
  for (const [buffer, inside] of Map.groupBy(slices, bufferOf)) {
    const together = partOf(buffer, inside, limit.elements);
    for (const group of fits(together, limit) ? [inside] : inside.map((one) => [one])) {
      const binding = partOf(buffer, group, limit.elements);
      if (!fits(binding, limit)) throw tooLarge(binding, limit);
      for (const one of group) bindingOf.set(one, distinct.length);
      distinct.push(binding);
    }
  }
  const operands = slices.map((one) => {
    const binding = bindingOf.get(one) ?? 0;
    return { binding, start: one.offset - (distinct[binding]?.first ?? 0) };
  });
  const apart = [...distinct.keys()].filter(
    (one) => distinct.filter(({ buffer }) => buffer === distinct[one]?.buffer).length > 1,
  );
  return { distinct, operands, apart };
}

/** The whole buffer where that can be bound: then the same binding serves all of its slices. */
function partOf(buffer: WebGpuBuffer, slices: readonly Slice[], limit: number): Binding {
  if (buffer.length <= limit) return { buffer, first: 0, length: buffer.length };
  const lowest = Math.min(...slices.map(({ offset }) => offset));
  const end = Math.max(...slices.map(({ offset, length }) => offset + length));
  const first = lowest - (lowest % alignment);
  return { buffer, first, length: end - first };
}

function fits({ length }: Binding, limit: BindingLimit): boolean {
  return length <= limit.elements;
}

function tooLarge({ length }: Binding, { elements, device }: BindingLimit): DeviceMemoryError {
  const [needed, most] = [length, elements].map((count) => count * elementBytes);
  return new DeviceMemoryError(
    length * elementBytes,
    device,
    `a kernel's operand of ${needed} bytes: kernels see ${most} bytes at once`,
  );
}
