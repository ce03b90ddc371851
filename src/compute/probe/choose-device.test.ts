import { describe, expect, it } from "vitest";
import type { DeviceResult } from "../../protocol/device-probe.ts";
import { chooseDevice } from "./choose-device.ts";

const worst = { tensor: "loss", error: 1e-7, limit: 2e-5 };

function passed(name: string, blockTokensPerSecond: number, device: Partial<DeviceResult> = {}): DeviceResult {
  const backend = name === "processor" ? "native" : "webgpu";
  const adapter = backend === "native" ? null : name;
  const known = { backend, precision: "f32", adapter, name, driver: "1", software: false, ...device } as const;
  return { ...known, verdict: "passed", worst, lossDeviation: null, blockTokensPerSecond, gemmGflops: 1 };
}

function refused(name: string): DeviceResult {
  const known = { backend: "webgpu", precision: "f32", adapter: name, name, driver: "1", software: false } as const;
  return { ...known, verdict: "refused", reason: "it computes nonsense" };
}

const native = { backend: "native", precision: "f32", adapter: null } as const;

describe("the choice of a device", () => {
  it("falls on the fastest that passed", () => {
    const { chosen, why } = chooseDevice([passed("processor", 10_000), passed("gpu", 90_000), refused("faster")], null);
    expect(chosen).toEqual({ backend: "webgpu", precision: "f32", adapter: "gpu" });
    expect(why).toBe("It is the fastest of the 2 that passed.");
  });

  it("falls on software only where that is faster by more than measurements differ", () => {
    const software = { software: true };
    expect(chooseDevice([passed("imitation", 10_500, software), passed("processor", 10_000)], null).chosen).toEqual(
      native,
    );
    expect(
      chooseDevice([passed("imitation", 12_000, software), passed("processor", 10_000)], null).chosen,
    ).toMatchObject({
      adapter: "imitation",
    });
  });

  it("prefers exact products to rounded ones that are hardly faster", () => {
    const rounded = (speed: number) => [passed("processor", speed, { precision: "bf16" }), passed("processor", 10_000)];
    expect(chooseDevice(rounded(10_900), null).chosen).toEqual(native);
    expect(chooseDevice(rounded(16_000), null).chosen).toEqual({ ...native, precision: "bf16" });
  });

  it("stays with the last one while that is about as fast, and says so", () => {
    const devices = [passed("gpu", 10_900), passed("processor", 10_000)];
    expect(chooseDevice(devices, native)).toEqual({
      chosen: native,
      why: "It was chosen before: gpu in f32 is less than 10 % faster.",
    });
    expect(chooseDevice([passed("gpu", 12_000), passed("processor", 10_000)], native).chosen.adapter).toBe("gpu");
    expect(chooseDevice([refused("gpu"), passed("processor", 10)], { ...native, adapter: "gpu" }).chosen).toEqual(
      native,
    );
  });

  it("falls on the reference where none passed", () => {
    expect(chooseDevice([refused("gpu")], native).chosen).toEqual({ ...native, backend: "reference" });
    expect(chooseDevice([], null).chosen.backend).toBe("reference");
  });
});
