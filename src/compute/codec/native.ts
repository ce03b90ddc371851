/** The codec in C++ (`native-bridge/src/codec/`), whatever device the model runs on. */
import { type Addon, type GridArguments, loadAddon, NativeAddonError } from "../backends/native/addon.ts";
import type { Grid, GridKernels, Quantiser } from "./grid.ts";

/** Null where the addon has not been built, or was before there was a codec. */
export function nativeKernels(): GridKernels | null {
  try {
    const addon = loadAddon();
    return "addArrays" in addon ? kernelsOf(addon, 0) : null;
  } catch (error) {
    if (error instanceof NativeAddonError) return null;
    throw error;
  }
}

/** The codec for each instruction set that this processor runs, by its name. */
export function nativeKernelSets(): readonly (readonly [name: string, kernels: GridKernels])[] {
  const addon = loadAddon();
  return addon.codecSets().map((name, index) => [name, kernelsOf(addon, index)]);
}

function kernelsOf(addon: Addon, set: number): GridKernels {
  return {
    encodeGrid: (body, values, grid, quantiser) => addon.encodeGrid(set, body, values, ...argumentsOf(grid, quantiser)),
    decodeGrid: (values, body, grid, quantiser) => addon.decodeGrid(set, values, body, ...argumentsOf(grid, quantiser)),
    encodeBrainFloats: (body, values, { columns, seed, isFresh }) =>
      addon.encodeBrainFloats(set, body, values, columns, seed, isFresh),
    decodeBrainFloats: (values, body) => addon.decodeBrainFloats(set, values, body),
    encodeSparse: (body, values, kept) => addon.encodeSparse(set, body, values, kept),
    add: (sums, others) => addon.addArrays(set, sums, others),
    subtract: (differences, others) => addon.subtractArrays(set, differences, others),
    decodeSparse: (values, body, kept) => addon.decodeSparse(set, values, body, kept),
  };
}

function argumentsOf({ columns, seed, isFresh }: Grid, { kind, bits }: Quantiser): GridArguments {
  return [columns, seed, isFresh, kind === "levels", bits];
}
