import { describe, expect, it } from "vitest";
import type { MinerId } from "../../protocol/ids.ts";
import { FlowModel } from "./flow-model.ts";
import { virtualMinerId } from "./virtual-miner.ts";

const [a, b, c, d] = [0, 1, 2, 3].map(virtualMinerId) as [MinerId, MinerId, MinerId, MinerId];
const steady = { atMs: 0, steps: 1, flushSeconds: 0 };

/** Two sources, of which the second is three times as fast, and one miner behind them. */
function twoSources(behind: number) {
  return [
    new Map([
      [a, 100],
      [b, 300],
    ]),
    new Map([[c, behind]]),
  ];
}

/** Who is done after how many seconds. */
function doneOneAfterTheOther(flow: FlowModel): (readonly [MinerId, number])[] {
  const done: (readonly [MinerId, number])[] = [];
  for (let atMs = flow.nextDoneMs(); atMs !== null; atMs = flow.nextDoneMs()) {
    const minerId = flow.takeDone(atMs);
    if (minerId === undefined) throw new Error("nobody is done when somebody should be");
    done.push([minerId, Math.round(atMs / 100) / 10]);
  }
  return done;
}

describe("the flow", () => {
  it("takes as long as the slowest stage does", () => {
    const sources = [
      { minerId: a, tokens: 1000 },
      { minerId: b, tokens: 3000 },
    ];
    expect(doneOneAfterTheOther(new FlowModel(twoSources(1000), sources, steady)).at(-1)).toEqual([b, 10]);
    expect(doneOneAfterTheOther(new FlowModel(twoSources(200), sources, steady)).at(-1)).toEqual([b, 20]);
  });

  it("gives a source that has more to send the pipeline to itself at the end", () => {
    const sources = [
      { minerId: a, tokens: 1000 },
      { minerId: b, tokens: 600 },
    ];
    // At half speed the second is done after 4 s, when the first has sent 200; the rest it sends at its own full speed.
    expect(doneOneAfterTheOther(new FlowModel(twoSources(200), sources, steady))).toEqual([
      [b, 4],
      [a, 12],
    ]);
  });

  it("counts what each replica took, in proportion to their rates", () => {
    const rates = [
      new Map([[a, 100]]),
      new Map([
        [c, 100],
        [d, 300],
      ]),
    ];
    const flow = new FlowModel(rates, [{ minerId: a, tokens: 1000 }], steady);
    expect([flow.tokensOf(0, a, 4000), flow.tokensOf(1, c, 4000), flow.tokensOf(1, d, 4000)]).toEqual([400, 100, 300]);
  });

  it("stops for a stage without anybody, and goes on when its miner is back", () => {
    const flow = new FlowModel([new Map([[a, 100]]), new Map([[c, 100]])], [{ minerId: a, tokens: 1000 }], steady);
    flow.pause(c, 4000);
    expect(flow.nextDoneMs()).toBeNull();
    flow.resume(c, 5000);
    expect(doneOneAfterTheOther(flow)).toEqual([[a, 11]]);
    expect(flow.tokensOf(1, c, 11_000)).toBeCloseTo(1000, 0);
  });

  it("slows down with a source, which then takes its time", () => {
    const flow = new FlowModel([new Map([[a, 100]])], [{ minerId: a, tokens: 1000 }], steady);
    flow.setRate(a, 10, 5000);
    expect(doneOneAfterTheOther(flow)).toEqual([[a, 55]]);
  });

  it("has time for nothing else while the pipeline fills and empties between steps", () => {
    const flow = new FlowModel([new Map([[a, 100]])], [{ minerId: a, tokens: 1000 }], {
      atMs: 0,
      steps: 2,
      flushSeconds: 5,
    });
    expect(doneOneAfterTheOther(flow)).toEqual([[a, 20]]);
  });
});
