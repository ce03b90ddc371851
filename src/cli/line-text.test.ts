import { describe, expect, it } from "vitest";
import type { LineView } from "../protocol/line-view.ts";
import { outlookOf } from "./line-outlook.ts";
import { lineText } from "./line-text.ts";

const home: LineView = {
  network: "ws://host:7700",
  way: "direct",
  failure: null,
  roundTripMs: 40,
  jitterMs: 2,
  upBytesPerSecond: 2.5e6,
  downBytesPerSecond: 12.5e6,
  withoutRates: null,
  movedBytes: 40e6,
  udp: "consistent",
};
const rules = { maxUploadMbps: null, maxDownloadMbps: null, onMetered: "pause" } as const;

function textOf(line: LineView, situation: { rules?: typeof rules | object; besideTraining?: boolean } = {}): string {
  const { besideTraining = false } = situation;
  return lineText({ line, outlook: outlookOf(line), rules: { ...rules, ...situation.rules }, besideTraining });
}

describe("a line in words", () => {
  it("says what it can do, and which models that is enough for", () => {
    const text = textOf(home);
    expect(text).toContain("Line to ws://host:7700: direct.");
    expect(text).toContain("round trip 40.0 ms");
    expect(text).toContain("up 20.0 Mbit/s, down 100.0 Mbit/s (40.0 MB moved)");
    expect(text).toContain("no port has to be opened");
    expect(text).toMatch(
      /demo in 3 stages +[\d,]+ of [\d,]+ tokens\/s +loss \d\.\d % higher +\d+ % of the line +checkpoint \d+ s/,
    );
    expect(text).toMatch(/Fast enough to train most of the time: .*25m/);
    expect(text).not.toContain("meanwhile");
  });

  it("says that the rates are what a training beside it left", () => {
    expect(textOf(home, { besideTraining: true })).toContain("This machine trained meanwhile");
  });

  it("says for a network that is not reached why, and nothing else", () => {
    const failure = { code: "unreachable", message: "Nothing answers there.", action: "Wait.", retry: true } as const;
    const text = textOf({ ...home, way: "blocked", failure, upBytesPerSecond: null });
    expect(text).toBe("Line to ws://host:7700: blocked.\n    Nothing answers there. Wait.");
  });

  it.each([
    ["blocked", "UDP does not get through", "Let outgoing UDP through"],
    ["changing", "symmetric NAT", "full cone NAT"],
    ["not-offered", "the network has none", "--direct on"],
    ["switched-off", "switched off here", "tah mine --direct on"],
  ] as const)("says of UDP that is %s what it means and what to do", (udp, meaning, advice) => {
    const text = textOf({ ...home, way: "relayed", udp });
    expect(text).toContain(meaning);
    expect(text).toContain(advice);
  });

  it.each([
    ["not-asked", "as asked"],
    ["metered", "--rates"],
    ["refused", "try again in a few minutes"],
  ] as const)("says why rates were not measured (%s), and then promises nothing", (withoutRates, words) => {
    const text = textOf({ ...home, withoutRates, upBytesPerSecond: null, downBytesPerSecond: null });
    expect(text).toContain(words);
    expect(text).not.toContain("tokens/s");
  });

  it("advises a cable where round trips vary, patience where they are long, and names a cap that is what holds it up", () => {
    expect(textOf({ ...home, jitterMs: 80 })).toContain("a cable");
    expect(textOf({ ...home, roundTripMs: 300 })).toContain("far away");
    expect(textOf(home, { rules: { maxUploadMbps: 20 } })).toContain("tah limit --max-upload-mbps");
    expect(textOf(home)).not.toContain("tah limit");
  });
});

describe("what a line means for training", () => {
  it("is more, or better, on a faster line, and nothing where too little was measured", () => {
    const slow = outlookOf({ ...home, upBytesPerSecond: 60_000, downBytesPerSecond: 125_000 });
    const fast = outlookOf(home);
    expect(fast.map(({ preset }) => preset)).toEqual(["demo", "25m", "100m", "1b", "8b"]);
    for (const [index, { efficiency, lossGapPercent, checkpointSeconds }] of fast.entries()) {
      const slower = slow[index] ?? expect.fail("there is one for each model");
      // A plan may send less and wait less: then the model learns less of each token.
      expect(efficiency >= slower.efficiency || lossGapPercent < slower.lossGapPercent).toBe(true);
      expect(checkpointSeconds).toBeLessThan(slower.checkpointSeconds);
    }
    expect(outlookOf({ ...home, roundTripMs: null })).toEqual([]);
  });
});
