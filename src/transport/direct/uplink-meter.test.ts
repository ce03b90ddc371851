import { describe, expect, it } from "vitest";
import { FakeClock } from "../../miner/session/fake-clock.ts";
import { UplinkMeter } from "./uplink-meter.ts";

describe("the uplink of direct connections", () => {
  const open = () => {
    const clock = new FakeClock();
    const measured: number[] = [];
    const meter = new UplinkMeter(clock, (bytes, elapsedMs) => measured.push((bytes / elapsedMs) * 1000));
    return { clock, measured, meter };
  };

  it("is as fast as what was carried while data waited", () => {
    const { clock, measured, meter } = open();
    for (let turn = 0; turn <= 10; turn++) {
      meter.carried(250_000, true);
      clock.advance(100);
    }
    expect(measured).toEqual([2_500_000]);
  });

  it("is not known from what left a pause", () => {
    const { clock, measured, meter } = open();
    for (let turn = 0; turn < 100; turn++) {
      meter.carried(250_000, turn % 5 > 0);
      clock.advance(100);
    }
    expect(measured).toEqual([]);
  });
});
