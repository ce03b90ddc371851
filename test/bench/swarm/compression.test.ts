import { describe, expect, it } from "vitest";
import { parseCompression } from "./compression.ts";

describe("a benchmark's compression", () => {
  it("is what its words say, and otherwise off", () => {
    expect(parseCompression("backward=int2,lag=1,exchange=dense4,merge=topk1", 256)).toEqual({
      boundaryBackward: "int2",
      exchange: "dense4",
      exchangeLag: 1,
      mergeCodec: "topk1",
    });
    expect(parseCompression("off", 256)).toEqual({});
  });

  it("has a bottleneck of an eighth of the model when it is on", () => {
    expect(parseCompression("on", 512)).toMatchObject({
      bottleneck: 64,
      boundaryForward: "int8",
      mergeCodec: "dense2",
    });
  });

  it("is refused where it says what there is not", () => {
    for (const text of ["auto", "forward=int3", "rank=4", "lag=2"]) expect(() => parseCompression(text, 256)).toThrow();
  });
});
