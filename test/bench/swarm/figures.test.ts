import { describe, expect, it } from "vitest";
import { presets } from "../../../src/compute/model/presets.ts";
import { type FrameBytes, noFrameBytes } from "../../../src/protocol/frames.ts";
import type { Course, Reading } from "./bench-swarm.ts";
import {
  compare,
  lineFigures,
  lossAt,
  processorFigures,
  relayedFrames,
  secondsToLoss,
  shownFrames,
  tokensPerSecond,
  trafficFigures,
} from "./figures.ts";

const curve = [
  { tokens: 100, seconds: 20, validationLossNats: 3 },
  { tokens: 200, seconds: 30, validationLossNats: 2 },
  { tokens: 300, seconds: 40, validationLossNats: 1 },
];

describe("a curve of losses", () => {
  it("has its speed from the first epoch's end on", () => {
    expect(tokensPerSecond(curve)).toBe(10);
    expect(tokensPerSecond(curve.slice(0, 1))).toBe(5);
  });

  it("reaches losses between its points along straight lines", () => {
    expect(secondsToLoss(curve, 1.5)).toBe(35);
    expect(secondsToLoss(curve, 3)).toBe(20);
    expect(secondsToLoss(curve, 0.5)).toBeNull();
    expect(lossAt(curve, 150)).toBe(2.5);
    expect(lossAt(curve, 50)).toBe(3);
    expect(lossAt(curve, 400)).toBe(1);
  });

  it("is compared at equal tokens, and to the loss that both reach", () => {
    const swarm = [
      { tokens: 150, seconds: 30, validationLossNats: 3 },
      { tokens: 250, seconds: 50, validationLossNats: 1.8 },
    ];
    const { efficiency, lossGapPercent, timeToLossRatio, lossNats } = compare(curve, swarm, swarm);
    expect(efficiency).toBe(0.5);
    expect(lossGapPercent).toBeCloseTo(20, 9);
    expect(lossNats).toBe(1.8);
    expect(timeToLossRatio).toBeCloseTo(32 / 50, 9);
  });
});

describe("what a course comes to", () => {
  const { model } = presets.demo;
  const definition = { model, stages: 3, minimumReplicas: 2 };

  it("counts frames of one kind against bf16 in the model's full width", () => {
    // Two boundaries, each crossed forward and back in two bytes a channel.
    const plainBytesPerToken = 2 * 2 * 2 * model.width;
    const figures = trafficFigures(
      definition,
      relayedFrames(course({ forward: (plainBytesPerToken / 16) * 1000, exchange: 5000 })),
    );
    expect(figures.activationBytesPerToken).toBe(plainBytesPerToken / 16);
    expect(figures.activationCompression).toBe(16);
    expect(figures.exchangeBytesPerToken).toBe(5);
    expect(figures.mergeCompression).toBeNull();
  });

  it("takes what went directly from the miners, over all epochs", () => {
    const direct = { ...course({}), sentFrames: { ...noFrameBytes, exchange: 4000, "blob-part": 600 } };
    const figures = trafficFigures(definition, shownFrames(direct));
    expect(figures.exchangeBytesPerToken).toBe(2);
    expect(figures.mergeBytesPerEpoch).toBe(300);
  });

  it("counts merges against what their formula says of bf16", () => {
    const parameters = 4_987_136;
    const figures = trafficFigures(definition, relayedFrames(course({ "blob-part": 2 * 2 * parameters })));
    expect(figures.mergeBytesPerEpoch).toBe(2 * 2 * parameters);
    expect(figures.mergeCompression).toBeCloseTo(1, 1);
  });

  it("takes processor time and lines from the first epoch's end to the last one's", () => {
    expect(processorFigures(course({}))).toMatchObject({ workers: 8, daemons: 1, seconds: 10, tokens: 1000 });
    const lines = lineFigures(course({}));
    expect(lines?.upMbps).toEqual({ mean: 8, most: 8 });
    expect(lines?.lostShare).toBeCloseTo(0.1, 9);
    expect(lines?.shownDifferencePercent).toEqual({ up: 1, down: -2 });
  });
});

/** Two epochs of a thousand tokens in ten seconds each, with these bytes in the second. */
function course(frames: Partial<FrameBytes>): Course {
  const first = reading(1, noFrameBytes);
  return {
    startedAtMs: 0,
    training: reading(0, noFrameBytes),
    epochs: [first, reading(2, { ...noFrameBytes, ...frames })],
    checkpoints: [],
    microbatchesLost: 0,
    sentFrames: noFrameBytes,
    shown: [
      { crossed: { up: line(100), down: line(100) }, shown: { sentBytes: 101, receivedBytes: 99.5 } },
      { crossed: { up: line(100), down: line(100) }, shown: { sentBytes: 100, receivedBytes: 98 } },
    ],
  };
}

function reading(epochs: number, frameBytes: FrameBytes): Reading {
  return {
    atMs: 10_000 * epochs,
    tokens: 1000 * epochs,
    frameBytes,
    processor: { workers: 8 * epochs, daemons: epochs, orchestrator: 0, links: 0 },
    lines: [{ up: line(1e7 * epochs), down: line(2e7 * epochs) }],
  };
}

function line(bytes: number) {
  return { bytes, packets: bytes / 1000, lostPackets: bytes / 10_000, droppedPackets: 0 };
}
