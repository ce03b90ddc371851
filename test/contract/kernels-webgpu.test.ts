import { createWebGpuDevice } from "../../src/compute/backends/webgpu/device.ts";
import { describeWithWebGpu } from "../compute/webgpu-adapter.ts";
import { describeKernels } from "./kernels.ts";

describeWithWebGpu(() => {
  describeKernels("webgpu", createWebGpuDevice, 1e-5);
});
