/**
 * A fake compute worker whose GPUs misbehave as their names say, and compute on the processor where they do not. Everything else
 * is the real thing.
 */
import { openDevice } from "../../src/compute/device.ts";
import { createEngine } from "../../src/compute/engine.ts";
import type { Device, Kernels } from "../../src/compute/kernels.ts";
import type { ComputeRequest } from "../../src/compute/worker-protocol.ts";
import type { DetectedDevice } from "../../src/protocol/device-probe.ts";

const names = ["honest", "wrong", "crashing", "hanging"] as const;

const engine = createEngine(async ({ adapter, ...options }): Promise<Device> => {
  if (adapter === "crashing") process.kill(process.pid, "SIGKILL");
  if (adapter === "hanging") await new Promise(() => undefined);
  if (options.backend === "reference") return openDevice(options);
  const device = await openDevice({ backend: "native", threads: 1 });
  return adapter === "wrong" ? { ...device, kernels: wrong(device.kernels) } : device;
});

/** One gradient is one per cent too large, and everything else right. */
function wrong(kernels: Kernels): Kernels {
  return {
    ...kernels,
    embeddingBackward(dTable, ...rest) {
      kernels.embeddingBackward(dTable, ...rest);
      kernels.addScaled(dTable, dTable, 0.01);
    },
  };
}

function devices({ backend }: { readonly backend: string }): readonly DetectedDevice[] {
  if (backend !== "webgpu") throw new Error("the fake driver is broken");
  const { FAKE_DRIVER: driver = "1.0", FAKE_DEVICES } = process.env;
  return names
    .filter((name) => FAKE_DEVICES === undefined || FAKE_DEVICES.split(",").includes(name))
    .map((name) => ({ backend, precision: "f32", adapter: name, name, driver, software: false }));
}

const calls: Readonly<Record<string, unknown>> = { ...engine, devices };
let queue = Promise.resolve();
process.on("message", ({ id, method, arguments: args }: ComputeRequest) => {
  queue = queue.then(async () => {
    try {
      const call = calls[method] as (...args: unknown[]) => unknown;
      process.send?.({ id, ok: true, result: await call(...args) });
    } catch (error) {
      process.send?.({ id, ok: false, error: { kind: "bug", message: String(error) } });
    }
  });
});
process.on("disconnect", () => process.exit(0));
