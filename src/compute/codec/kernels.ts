/** The implementation of the codec that this machine has: in C++ if its addon was built. */
import type { GridKernels } from "./grid.ts";
import { nativeKernels } from "./native.ts";
import { portableKernels } from "./portable/grid.ts";

export const kernels: GridKernels = nativeKernels() ?? portableKernels;
