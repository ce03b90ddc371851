import os from "node:os";
import process from "node:process";
import { type DeviceBuffer, DeviceMemoryError, type Slice } from "../../kernels.ts";
import type { Addon, BufferHandle, Operand } from "./addon.ts";

const elementBytes = 4;

export class NativeBuffer implements DeviceBuffer {
  readonly length: number;
  readonly element: "real" | "index";
  readonly handle: BufferHandle;

  constructor(element: "real" | "index", length: number, handle: BufferHandle) {
    this.element = element;
    this.length = length;
    this.handle = handle;
  }
}

/**
 * The buffers of one device. Systems often promise more memory than there is and end the process when it is used, so the
 * sum of all buffers is held below what the machine, or the container that the process runs in, has in all.
 */
export class NativeMemory {
  readonly #addon: Addon;
  readonly #limitBytes = Math.min(os.totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
  readonly #live = new Set<NativeBuffer>();
  #usedBytes = 0;

  constructor(addon: Addon) {
    this.#addon = addon;
  }

  /** A zero-filled buffer. Throws `DeviceMemoryError`. */
  allocate(element: "real" | "index", length: number): NativeBuffer {
    if (!Number.isInteger(length) || length < 0) throw new RangeError(`a buffer cannot have ${length} elements`);
    const bytes = length * elementBytes;
    const handle =
      this.#usedBytes + bytes <= this.#limitBytes ? this.#addon.allocate(length, element === "index") : undefined;
    if (handle === undefined) throw new DeviceMemoryError(bytes, "the native device");
    const buffer = new NativeBuffer(element, length, handle);
    this.#live.add(buffer);
    this.#usedBytes += bytes;
    return buffer;
  }

  free(buffer: DeviceBuffer): void {
    if (!(buffer instanceof NativeBuffer) || !this.#live.delete(buffer))
      throw new Error("free: the buffer is not a live one of this device");
    this.#addon.free(buffer.handle);
    this.#usedBytes -= buffer.length * elementBytes;
  }

  freeAll(): void {
    for (const buffer of this.#live) this.free(buffer);
  }
}

/** A slice as the addon takes it. The addon throws when the buffer has been freed. */
export function operand({ buffer, offset, length }: Slice): Operand {
  if (!(buffer instanceof NativeBuffer)) throw new TypeError("a buffer of another device was used");
  return [buffer.handle, offset, length];
}
