import { describe, expect, it } from "vitest";
import { Pace, targetSubmitMs } from "./pace.ts";

/** A device whose programs take so many milliseconds per operation, and a host that keeps it supplied. */
class FakeDevice {
  nowMs = 0;
  readonly pace = new Pace(1, () => this.nowMs);
  readonly #msPerOperation: Readonly<Record<string, number>>;

  constructor(msPerOperation: Readonly<Record<string, number>>) {
    this.#msPerOperation = msPerOperation;
  }

  /** As many operations as the pace lets a submit hold. */
  fill(program: string): ReadonlyMap<string, number> {
    return new Map([[program, targetSubmitMs / this.pace.predictMs(program, 1)]]);
  }

  tookMs(work: ReadonlyMap<string, number>): number {
    return [...work].reduce((sum, [program, operations]) => sum + operations * (this.#msPerOperation[program] ?? 0), 0);
  }

  /** Hands over submits one behind the other, is busy for a while, and then waits for all of them; it sees the first end `lateMs` late. */
  run(submits: readonly ReadonlyMap<string, number>[], hostMs = 0, lateMs = 0): void {
    const startMs = this.nowMs;
    const ends = submits.map((work) => this.pace.submitted(work));
    this.nowMs += hostMs;
    this.pace.waits();
    let endMs = startMs;
    submits.forEach((work, index) => {
      endMs += this.tookMs(work);
      this.nowMs = Math.max(this.nowMs, endMs + (index === 0 ? lateMs : 0));
      ends[index]?.();
    });
  }
}

describe("the pace of submits", () => {
  it.each([0.01, 1, 30])("becomes that of a device that takes %f times as long as was thought", (slowness) => {
    const device = new FakeDevice({ matmul: slowness });
    for (let round = 0; round < 60; round++) device.run([device.fill("matmul")]);
    expect(device.tookMs(device.fill("matmul"))).toBeCloseTo(targetSubmitMs, 0);
  });

  it("is known of every program, also when they come in one submit", () => {
    const device = new FakeDevice({ matmul: 1, attention: 9 });
    for (let round = 0; round < 200; round++) {
      const operations = 1 / (1 + (round % 4));
      device.run([new Map([...device.fill("matmul"), ["attention", operations]])]);
      device.run([device.fill("attention")]);
    }
    expect(device.tookMs(device.fill("matmul"))).toBeGreaterThan(0.5 * targetSubmitMs);
    for (const program of ["matmul", "attention"])
      expect(device.tookMs(device.fill(program))).toBeLessThan(2 * targetSubmitMs);
  });

  it("does not overshoot when many submits of the old pace are on their way", () => {
    const device = new FakeDevice({ matmul: 30 });
    device.run(Array.from({ length: 100 }, () => device.fill("matmul")));
    expect(device.tookMs(device.fill("matmul"))).toBeCloseTo(targetSubmitMs, 0);
  });

  it("stays when ends are seen late, which makes one submit seem long and the next one short", () => {
    const device = new FakeDevice({ matmul: 1 });
    for (let round = 0; round < 30; round++) device.run([device.fill("matmul")]);
    for (let round = 0; round < 100; round++) {
      const late = round % 3 === 0 ? 0.9 * targetSubmitMs : 0;
      device.run([device.fill("matmul"), device.fill("matmul")], 0, late);
      expect(device.tookMs(device.fill("matmul"))).toBeLessThan(1.75 * targetSubmitMs);
      expect(device.tookMs(device.fill("matmul"))).toBeGreaterThan(0.4 * targetSubmitMs);
    }
  });

  it("is not learned from submits that ended while the host was busy", () => {
    const device = new FakeDevice({ matmul: 0.1 });
    const before = device.pace.predictMs("matmul", 1);
    device.run(
      Array.from({ length: 5 }, () => device.fill("matmul")),
      500,
    );
    expect(device.pace.predictMs("matmul", 1)).toBe(before);
  });

  it("is not learned from short submits, which take as long as the way to the device", () => {
    const device = new FakeDevice({ tiny: 1000 });
    const before = device.pace.predictMs("tiny", 1);
    for (let round = 0; round < 50; round++) device.run([new Map([["tiny", 0.001]])]);
    expect(device.pace.predictMs("tiny", 1)).toBe(before);
  });
});
