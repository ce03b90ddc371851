import { type DeviceBuffer, DeviceMemoryError, type Slice } from "../../kernels.ts";

type Values<Element> = Element extends "real" ? Float64Array : Int32Array;

/** A device buffer in plain JavaScript memory: float64 for reals, int32 for indices. */
export class ReferenceBuffer<Element extends "real" | "index" = "real" | "index"> implements DeviceBuffer {
  readonly length: number;
  readonly element: Element;
  #values: Values<Element> | undefined;

  constructor(element: Element, values: Values<Element>) {
    this.element = element;
    this.length = values.length;
    this.#values = values;
  }

  /** The live contents. Throws once the buffer is freed. */
  get values(): Values<Element> {
    if (this.#values === undefined) throw new Error(`a freed buffer of ${this.length} elements was used`);
    return this.#values;
  }

  release(): void {
    this.#values = undefined;
  }
}

/** A zero-filled typed array, or `DeviceMemoryError` where the engine has no room for it. */
export function zeros<Values>(TypedArray: { new (length: number): Values; BYTES_PER_ELEMENT: number }, length: number) {
  if (!Number.isInteger(length) || length < 0) throw new RangeError(`a buffer cannot have ${length} elements`);
  try {
    return new TypedArray(length);
  } catch (error) {
    if (error instanceof RangeError)
      throw new DeviceMemoryError(length * TypedArray.BYTES_PER_ELEMENT, "the reference device");
    throw error;
  }
}

/** The elements of a slice of a real buffer, as a view: writing to it writes to the buffer. */
export function reals(slice: Slice): Float64Array {
  return view(slice, Float64Array);
}

/** The elements of a slice of an index buffer, as a view. */
export function indices(slice: Slice): Int32Array {
  return view(slice, Int32Array);
}

function view<Values extends Float64Array | Int32Array>(
  { buffer, offset, length }: Slice,
  TypedArray: new () => Values,
): Values {
  if (!(buffer instanceof ReferenceBuffer)) throw new TypeError("a buffer of another device was used");
  const values: unknown = buffer.values.subarray(offset, offset + length);
  if (!(values instanceof TypedArray)) throw new TypeError(`a slice of ${buffer.element} elements was used`);
  return values;
}

/** values[i], for an index that the shape checks have shown to be inside. */
export function at(values: Float64Array | Int32Array, index: number): number {
  return values[index] as number;
}

/** values[i] += amount. */
export function accumulate(values: Float64Array, index: number, amount: number): void {
  values[index] = at(values, index) + amount;
}
