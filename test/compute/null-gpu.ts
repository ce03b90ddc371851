/**
 * Dawn's own stand-in for a driver, which is there on every machine: it has all features, checks every program and call as
 * for a real GPU, and computes nothing.
 */
import { create, globals } from "webgpu";
import { type Gpu, openGpu } from "../../src/compute/backends/webgpu/adapter.ts";

Object.assign(globalThis, globals);
/** What it hands out dies with it. */
const dawn = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);

export async function openNullGpu(): Promise<Gpu> {
  const adapter = await dawn.requestAdapter();
  if (adapter === null) throw new Error("dawn has no null back end");
  return openGpu(adapter);
}
