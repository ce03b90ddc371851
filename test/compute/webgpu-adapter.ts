/**
 * Which GPU the tests run on: the machine's own, or SwiftShader, a Vulkan driver in software that chromium brings along.
 * Without either the suites are skipped, with the reason; REQUIRE_WEBGPU=1 makes that a failure.
 */
import { existsSync } from "node:fs";
import { describe, it } from "vitest";
import { webGpuAvailability } from "../../src/compute/backends/webgpu/device.ts";

const softwareDriver = "/usr/lib/chromium/vk_swiftshader_icd.json";

const own = await webGpuAvailability();
if (!own.available && process.env.VK_ICD_FILENAMES === undefined && existsSync(softwareDriver))
  process.env.VK_ICD_FILENAMES = softwareDriver;
const found = own.available ? own : await webGpuAvailability();

/** On a busy machine, for what takes a few seconds on an idle one. */
const timeout = 120_000;

/** `describe` where there is a GPU. */
export function describeWithWebGpu(suite: () => void): void {
  if (found.available) describe(`on ${found.description}`, { timeout }, suite);
  else if (process.env.REQUIRE_WEBGPU === "1")
    it("has a GPU", () => {
      throw new Error(`REQUIRE_WEBGPU=1, but ${found.reason}`);
    });
  else it.skip(`WebGPU: ${found.reason}`);
}
