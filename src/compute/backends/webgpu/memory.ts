import { type DeviceBuffer, DeviceMemoryError, type Slice } from "../../kernels.ts";
import type { Gpu } from "./adapter.ts";

export const elementBytes = 4;

export class WebGpuBuffer implements DeviceBuffer {
  /** Unique among the buffers of one device. */
  readonly id: number;
  readonly length: number;
  readonly element: "real" | "index";
  /** What an index buffer holds. All indices come from the host, so they can be checked without asking the device. */
  readonly indices: Int32Array;
  #gpuBuffer: GPUBuffer | null;

  constructor(id: number, element: "real" | "index", length: number, gpuBuffer: GPUBuffer) {
    this.id = id;
    this.element = element;
    this.length = length;
    this.indices = new Int32Array(element === "index" ? length : 0);
    this.#gpuBuffer = gpuBuffer;
  }

  /** Throws once the buffer is freed. */
  get gpuBuffer(): GPUBuffer {
    if (this.#gpuBuffer === null) throw new Error(`a freed buffer of ${this.length} elements was used`);
    return this.#gpuBuffer;
  }

  release(): void {
    this.#gpuBuffer?.destroy();
    this.#gpuBuffer = null;
  }
}

/** The buffers of one device. Kernels see parts of them: `bindings.ts`. */
export class WebGpuMemory {
  readonly #gpu: Gpu;
  readonly #live = new Set<WebGpuBuffer>();
  #allocated = 0;

  constructor(gpu: Gpu) {
    this.#gpu = gpu;
  }

  /**
   * A zero-filled buffer. Throws `DeviceMemoryError` when it is larger than the adapter allows. That the driver has no room
   * is known only later: then every further call fails, with the same error.
   */
  allocate(element: "real" | "index", length: number): WebGpuBuffer {
    if (!Number.isInteger(length) || length < 0) throw new RangeError(`a buffer cannot have ${length} elements`);
    const { device, name, fail } = this.#gpu;
    const { maxBufferSize } = device.limits;
    const bytes = length * elementBytes;
    if (bytes > maxBufferSize)
      throw new DeviceMemoryError(bytes, name, `a buffer of ${bytes} bytes: it allows ${maxBufferSize} bytes in one`);
    device.pushErrorScope("out-of-memory");
    const gpuBuffer = device.createBuffer({
      size: Math.max(bytes, elementBytes),
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    void device.popErrorScope().then((error) => {
      if (error) fail(new DeviceMemoryError(bytes, name));
    });
    const buffer = new WebGpuBuffer(this.#allocated++, element, length, gpuBuffer);
    this.#live.add(buffer);
    return buffer;
  }

  free(buffer: DeviceBuffer): void {
    if (!(buffer instanceof WebGpuBuffer) || !this.#live.delete(buffer))
      throw new Error("free: the buffer is not a live one of this device");
    buffer.release();
  }

  freeAll(): void {
    for (const buffer of this.#live) buffer.release();
    this.#live.clear();
  }
}

/** The buffer of a slice. Throws when it belongs to another kind of device. */
export function bufferOf({ buffer }: Slice): WebGpuBuffer {
  if (!(buffer instanceof WebGpuBuffer)) throw new TypeError("a buffer of another device was used");
  return buffer;
}

/** What a slice of indices holds, as a view. */
export function indicesOf(slice: Slice): Int32Array {
  return bufferOf(slice).indices.subarray(slice.offset, slice.offset + slice.length);
}

/** The indices in a slice. Throws `RangeError` unless all of them are below `end`. */
export function indicesBelow(slice: Slice, end: number, what: string): Int32Array {
  const indices = indicesOf(slice);
  const outside = indices.find((index) => index < 0 || index >= end);
  if (outside !== undefined) throw new RangeError(`${what} ${outside} is outside a vocabulary of ${end}`);
  return indices;
}
