import { describe, expect, it } from "vitest";
import { noCompression } from "../../../protocol/run-config.ts";
import { fakeDefinition } from "./fake-swarm.ts";
import { transmissionOf } from "./transmission.ts";

describe("what a run sends", () => {
  const definition = fakeDefinition();
  const { width } = definition.model;

  it("is four bytes for every number, as long as nothing is compressed", () => {
    const sent = transmissionOf(definition, noCompression.boundary);
    expect(sent).toMatchObject({ columns: width, mergeBytesPerParameter: 4, exchangeBytesPerParameter: null });
    expect(sent.forwardBytesPerToken / (4 * width)).toBeCloseTo(1, 1);
    expect(sent.boundaryRatio).toBeCloseTo(0.5, 1);
  });

  it("is what bottleneck and formats leave of it", () => {
    const model = { ...definition.model, bottleneck: { rank: width / 2, hidden: width, beforeLayers: [1] } };
    const merge = { kind: "dense", bits: 2 } as const;
    const exchange = { codec: { kind: "dense", bits: 1 }, lag: 0 } as const;
    const boundary = { forward: "int8", backward: "int4" } as const;
    const training = { ...definition.training, compression: { boundary, merge, exchange } };
    const sent = transmissionOf({ ...definition, model, training }, boundary);
    expect(sent.columns).toBe(width / 2);
    expect(sent.backwardBytesPerToken).toBeLessThan(sent.forwardBytesPerToken);
    expect(sent.boundaryRatio).toBeGreaterThan(2);
    expect(sent.mergeBytesPerParameter).toBeCloseTo(0.26, 1);
    expect(sent.exchangeBytesPerParameter).toBeCloseTo(0.13, 1);
  });
});
