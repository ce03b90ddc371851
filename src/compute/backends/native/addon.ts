import { createRequire } from "node:module";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** A device or a buffer on the other side of the boundary. Only the addon can look inside. */
export type DeviceHandle = { readonly handleOf: "device" };
export type BufferHandle = { readonly handleOf: "buffer" };

/** A slice as the addon takes it: three arguments. */
export type Operand = readonly [buffer: BufferHandle, offset: number, length: number];

type KernelName =
  | "fill"
  | "add"
  | "addScaled"
  | "addColumns"
  | "squaredNorm"
  | "swigluForward"
  | "swigluBackward"
  | "matmul"
  | "embeddingForward"
  | "embeddingBackward"
  | "rmsNormForward"
  | "rmsNormBackward"
  | "rotary"
  | "attentionForward"
  | "attentionBackward"
  | "crossEntropy"
  | "adam"
  | "outerNesterov";

type KernelCall = (device: DeviceHandle, ...values: readonly (BufferHandle | number | boolean)[]) => void;

/** How many bytes of working space a kernel takes for a shape. */
type WorkspaceName = "matmulWorkspace" | "attentionForwardWorkspace" | "attentionBackwardWorkspace";
type WorkspaceCall = (device: DeviceHandle, ...shape: readonly (number | boolean)[]) => number;

/** How rows are quantised (`src/compute/codec/grid.ts`), as the addon takes it. */
export type GridArguments = readonly [
  columns: number,
  seed: number,
  isFresh: boolean,
  hasLevels: boolean,
  bits: number,
];

/** `native-bridge/src/codec-bindings.cc`: `GridKernels` of `src/compute/codec/grid.ts`; `set`: an index into `codecSets()`. */
interface CodecCalls {
  /** The instruction sets that this processor runs and that there is a codec for, the fastest first. */
  codecSets(): readonly string[];
  encodeGrid(set: number, body: Uint8Array, values: Float32Array, ...grid: GridArguments): boolean;
  decodeGrid(set: number, values: Float32Array, body: Uint8Array, ...grid: GridArguments): boolean;
  encodeBrainFloats(
    ...call: [set: number, body: Uint8Array, values: Float32Array, columns: number, seed: number, isFresh: boolean]
  ): boolean;
  decodeBrainFloats(set: number, values: Float32Array, body: Uint8Array): boolean;
  encodeSparse(set: number, body: Uint8Array, values: Float32Array, kept: number): number;
  decodeSparse(set: number, values: Float32Array, body: Uint8Array, kept: number): boolean;
  addArrays(set: number, sums: Float32Array, others: Float32Array): void;
  subtractArrays(set: number, differences: Float32Array, others: Float32Array): void;
}

/** What `native-bridge/src/*bindings.cc` exports. Calls are synchronous. */
export interface Addon
  extends Readonly<Record<KernelName, KernelCall>>,
    Readonly<Record<WorkspaceName, WorkspaceCall>>,
    CodecCalls {
  /** Bytes of working space that the device holds by now. */
  workspaceHeld(device: DeviceHandle): number;
  /** The instruction sets that this processor runs and that there are kernels for, the fastest first. */
  instructionSets(isBrainFloat: boolean): readonly string[];
  createDevice(threads: number, instructionSet: string): DeviceHandle;
  /** Stops the device's threads. */
  closeDevice(device: DeviceHandle): void;
  /** A zero-filled buffer of 4-byte elements; undefined when there is no room. */
  allocate(length: number, isIndex: boolean): BufferHandle | undefined;
  free(buffer: BufferHandle): void;
  upload(...call: [...target: Operand, values: Float32Array | Int32Array]): void;
  download(...call: [...source: Operand, values: Float32Array]): void;
  copy(...call: [...out: Operand, ...source: Operand]): void;
}

/** The addon is not there or does not load. An expected failure: the message says what to do. */
export class NativeAddonError extends Error {
  override readonly name = "NativeAddonError";
}

/** Where the addon was built, or where a packaged app says that it lies. */
const addonPath =
  process.env.TAH_NATIVE_ADDON ??
  fileURLToPath(new URL("../../../../native-bridge/build/train-at-home-native.node", import.meta.url));

/** Loads the addon; again calls return the same one. Throws `NativeAddonError`. */
export function loadAddon(): Addon {
  try {
    return createRequire(import.meta.url)(addonPath);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    throw new NativeAddonError(`The native addon could not be loaded; run \`npm run setup\` to build it. (${reason})`, {
      cause,
    });
  }
}
