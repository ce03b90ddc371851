/**
 * The native back end: the contract of `../../kernels.ts` on this machine's processor, in float32, by the C++ addon in
 * `native-bridge/`. TypeScript checks and names things, C++ computes. It imports nothing but the contract, the checks that
 * all back ends share, and Node's own modules.
 */
import os from "node:os";
import { type Device, DeviceUnavailableError, type Precision, type Slice } from "../../kernels.ts";
import { checkTransfer, withShapeChecks } from "../argument-checks.ts";
import { loadAddon, NativeAddonError } from "./addon.ts";
import { nativeKernels, nativeWorkspace } from "./kernels.ts";
import { NativeMemory, operand } from "./memory.ts";

export interface NativeDeviceOptions {
  /** Threads that compute, this one included. */
  readonly threads: number;
  /** "f32" when left out. */
  readonly precision?: Precision;
  /** One of `nativeInstructionSets(precision)`; the fastest when left out. */
  readonly instructionSet?: string;
}

export type NativeAvailability =
  | { readonly available: true; readonly description: string; readonly instructionSet: string }
  | { readonly available: false; readonly reason: string };

/** Whether a native device can be created here, and on what. */
export function nativeAvailability(precision: Precision = "f32"): NativeAvailability {
  try {
    const [fastest] = nativeInstructionSets(precision);
    if (fastest === undefined) return { available: false, reason: lacks(precision) };
    return { available: true, description: `${processorName()}, ${fastest}`, instructionSet: fastest };
  } catch (error) {
    if (error instanceof NativeAddonError) return { available: false, reason: error.message };
    throw error;
  }
}

/**
 * The instruction sets that kernels can run with on this processor, the fastest first; none when it does not multiply in
 * that precision. Throws `NativeAddonError`.
 */
export function nativeInstructionSets(precision: Precision = "f32"): readonly string[] {
  return precision === "f16" ? [] : loadAddon().instructionSets(precision === "bf16");
}

/**
 * A device that computes with this machine's processor. Kernels have taken effect when their call returns. Throws
 * `NativeAddonError` when the addon has not been built, and `DeviceUnavailableError` when the processor lacks the precision.
 */
export function createNativeDevice({ threads, precision = "f32", instructionSet }: NativeDeviceOptions): Device {
  if (!Number.isInteger(threads) || threads < 1) throw new RangeError(`a device cannot have ${threads} threads`);
  const addon = loadAddon();
  const chosenSet = instructionSet ?? nativeInstructionSets(precision)[0];
  if (chosenSet === undefined) throw new DeviceUnavailableError(lacks(precision));
  const handle = addon.createDevice(threads, chosenSet);
  const memory = new NativeMemory(addon);

  function read(source: Slice, values: Float32Array = new Float32Array(source.length)): Float32Array {
    checkTransfer(source, "real", values.length);
    addon.download(...operand(source), values);
    return values;
  }

  return {
    description: {
      kind: "native",
      name: `${processorName()}, ${threads} ${threads === 1 ? "thread" : "threads"}, ${chosenSet}`,
      threads,
    },
    kernels: withShapeChecks(nativeKernels(addon, handle)),
    largestOperand: Number.POSITIVE_INFINITY,
    workspace: nativeWorkspace(addon, handle),
    allocate: (length) => memory.allocate("real", length),
    allocateIndices: (length) => memory.allocate("index", length),
    free: (buffer) => memory.free(buffer),
    upload(target, values) {
      checkTransfer(target, "real", values.length);
      addon.upload(...operand(target), values instanceof Float32Array ? values : Float32Array.from(values));
    },
    uploadIndices(target, values) {
      checkTransfer(target, "index", values.length);
      addon.upload(...operand(target), values);
    },
    download: async (source, target) => read(source, target),
    downloadDouble: async (source) => Float64Array.from(read(source)),
    close() {
      memory.freeAll();
      addon.closeDevice(handle);
    },
  };
}

function lacks(precision: Precision): string {
  return `${processorName()} does not multiply in ${precision}`;
}

function processorName(): string {
  return os.cpus()[0]?.model.trim() ?? "Processor";
}
