import { describe, expect, it } from "vitest";
import {
  type Decision,
  decide,
  minimumFreeDiskBytes,
  minimumFreeMemoryBytes,
  type Sensors,
  type Wishes,
} from "./policy.ts";

const run: Wishes = { intent: "run", onMetered: "pause" };
const pause: Wishes = { ...run, intent: "pause" };
const plenty: Sensors = { freeMemoryBytes: 8 * 2 ** 30, freeDiskBytes: 80 * 2 ** 30, metered: false };
const noDisk: Sensors = { ...plenty, freeDiskBytes: minimumFreeDiskBytes - 1 };

describe("policy", () => {
  it("lets the miner run when the person wants it and there is room", () => {
    expect(decide(run, plenty, 0, null)).toEqual({ kind: "run", reason: "" });
  });

  it("believes that there is room where it cannot be read", () => {
    expect(decide(run, { freeMemoryBytes: null, freeDiskBytes: null, metered: null }, 0, null).kind).toBe("run");
  });

  it("gives the person's wish as the reason before anything else", () => {
    expect(decide(pause, noDisk, 0, null)).toMatchObject({
      kind: "suspend",
      reason: expect.stringContaining("by you"),
    });
  });

  it("suspends when disk or memory run short, and says which", () => {
    expect(decide(run, noDisk, 0, null)).toMatchObject({ kind: "suspend", reason: expect.stringContaining("disk") });
    const noMemory = { ...plenty, freeMemoryBytes: minimumFreeMemoryBytes - 1 };
    expect(decide(run, noMemory, 0, null)).toMatchObject({ reason: expect.stringContaining("memory") });
  });

  it("costs nobody anything on a metered connection, unless it is allowed to", () => {
    const metered = { ...plenty, metered: true };
    const suspended = decide(run, metered, 0, null);
    expect(suspended).toMatchObject({ kind: "suspend", reason: expect.stringContaining("metered") });
    expect(decide({ ...run, onMetered: "allow" }, metered, 0, suspended).kind).toBe("run");
    expect(decide(run, plenty, 0, suspended).kind).toBe("run");
  });

  it("does not flap: a lack of room is looked at again after a minute", () => {
    const suspended = decide(run, noDisk, 1_000, null);
    expect(decide(run, plenty, 60_999, suspended)).toBe(suspended);
    expect(decide(run, plenty, 61_000, suspended).kind).toBe("run");
  });

  it("resumes at once when the person asks for it", () => {
    const paused: Decision = decide(pause, plenty, 1_000, null);
    expect(decide(run, plenty, 1_000, paused).kind).toBe("run");
  });
});
