/**
 * Which GPUs the tests run on: the machine's own, or drivers in software: SwiftShader, which chromium brings along, and Mesa's
 * lavapipe, which has half precision too. Without any the suites are skipped, with the reason; REQUIRE_WEBGPU=1 makes that a
 * failure.
 */
import { existsSync } from "node:fs";
import { delimiter } from "node:path";
import { describe, it } from "vitest";
import { type GpuAdapter, listAdapters } from "../../src/compute/backends/webgpu/adapter.ts";
import { webGpuAvailability } from "../../src/compute/backends/webgpu/device.ts";

const softwareDrivers = ["/usr/lib/chromium/vk_swiftshader_icd.json", "/usr/share/vulkan/icd.d/lvp_icd.json"];

const own = await listAdapters();
if (own.every(({ software }) => software) && process.env.VK_ICD_FILENAMES === undefined)
  process.env.VK_ICD_FILENAMES = softwareDrivers.filter((path) => existsSync(path)).join(delimiter);
const adapters = await listAdapters();

/** On a busy machine, for what takes a few seconds on an idle one. */
const timeout = 300_000;

/** `describe` on each GPU. */
export function describeWithWebGpu(suite: (adapter: GpuAdapter) => void): void {
  for (const adapter of adapters) describe(`on ${adapter.name}`, { timeout }, () => suite(adapter));
  if (adapters.length > 0) return;
  const reason = webGpuAvailability().then((found) => (found.available ? "" : found.reason));
  if (process.env.REQUIRE_WEBGPU === "1")
    it("has a GPU", async () => {
      throw new Error(`REQUIRE_WEBGPU=1, but ${await reason}`);
    });
  else it.skip("WebGPU: there is no GPU");
}
