import { describe, expect, it } from "vitest";
import { AddressLimits, defaultAddressLimits, householdOf } from "./address-limits.ts";

describe("an address", () => {
  const limits = { ...defaultAddressLimits, connectionsPerAddress: 2, connectionsPerSecond: 1 };

  it("has so many connections open, and is not answered beyond twice as many", () => {
    const addresses = new AddressLimits(limits, () => 0);
    const verdicts = Array.from({ length: 5 }, () => addresses.opened("10.0.0.1"));
    expect(verdicts).toEqual(["admitted", "admitted", "over", "over", "far-over"]);
    expect(addresses.opened("10.0.0.2")).toBe("admitted");
  });

  it("makes no more connections than it may, even if it closes them", () => {
    let nowMs = 0;
    const addresses = new AddressLimits(limits, () => nowMs);
    const visit = () => {
      const verdict = addresses.opened("10.0.0.1");
      addresses.closed("10.0.0.1");
      return verdict;
    };
    expect([visit(), visit(), visit()]).toEqual(["admitted", "admitted", "over"]);
    nowMs = 1000;
    expect([visit(), visit()]).toEqual(["admitted", "over"]);
  });

  it("is not shut out for long, whatever its clients have done: others may share it", () => {
    let nowMs = 0;
    const addresses = new AddressLimits(limits, () => nowMs);
    for (let times = 0; times < 100; times++) addresses.householdAt("10.0.0.1").made.fine(50);
    nowMs = 2000;
    expect(addresses.opened("10.0.0.1")).toBe("over");
    nowMs = 3000;
    expect(addresses.opened("10.0.0.1")).toBe("admitted");
  });

  it("is forgotten once it is gone and rested, and not before", () => {
    let nowMs = 0;
    const addresses = new AddressLimits(limits, () => nowMs);
    for (const _ of [1, 2]) addresses.opened("10.0.0.1");
    nowMs = 10_000;
    addresses.sweep();
    expect(addresses.opened("10.0.0.1")).toBe("over");
  });

  it("says how long its guests have to wait once they have sent more than they may together", () => {
    let nowMs = 0;
    const addresses = new AddressLimits({ ...limits, guestBytesPerSecond: 1000 }, () => nowMs);
    const burst = 16_000;
    expect(addresses.householdAt("10.0.0.1").sent.spend(burst)).toBe(0);
    expect(addresses.householdAt("10.0.0.1").sent.spend(500)).toBe(500);
    expect(addresses.householdAt("10.0.0.2").sent.spend(500)).toBe(0);
    nowMs = 500;
    addresses.sweep();
    expect(addresses.householdAt("10.0.0.1").sent.spend(100)).toBe(100);
  });

  it("stands for a household: all of an IPv6 customer's are one", () => {
    expect(householdOf("::ffff:10.0.0.1")).toBe("10.0.0.1");
    expect(householdOf("2001:db8:1:2::9")).toBe(householdOf("2001:db8:1:2:a:b:c:d"));
    expect(householdOf("2001:db8::9")).not.toBe(householdOf("2001:db8:0:1::9"));
    expect(householdOf("1::2:3:4:5:6:7")).toBe("1:0:2:3::/64");
    expect(householdOf("::1")).toBe("0:0:0:0::/64");
  });
});
