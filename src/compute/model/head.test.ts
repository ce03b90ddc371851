import { describe, expect, it } from "vitest";
import { createNativeDevice } from "../backends/native/device.ts";
import { slice } from "../kernels.ts";
import { fillNormal, streamKey } from "../random.ts";
import type { ModelConfig } from "./config.ts";
import { type HeadPass, headForwardBackward, headScratchLength } from "./head.ts";
import { rowsOf } from "./memory.ts";
import { presets } from "./presets.ts";

describe("a head with a large vocabulary", () => {
  const model: ModelConfig = { ...presets.tiny.model, vocabulary: 70_000, width: 4, heads: 2, keyValueHeads: 2 };
  const { vocabulary, width } = model;
  const tokens = 130;

  it("takes the memory of some rows, and gives what those rows give one after the other", async () => {
    // The reference back end takes a minute for so many logits.
    const device = createNativeDevice({ threads: 1 });
    const reals = (length: number) => slice(device.allocate(length));
    const random = (length: number, name: string) => {
      const values = new Float32Array(length);
      fillNormal(values, streamKey(1, name), 1);
      const target = reals(length);
      device.upload(target, values);
      return target;
    };
    const weights = { norm: random(width, "norm"), head: random(vocabulary * width, "head") };
    const targets = slice(device.allocateIndices(tokens));
    device.uploadIndices(
      targets,
      Int32Array.from({ length: tokens }, (_, token) => (token * 7919) % vocabulary),
    );
    const x = random(tokens * width, "x");
    expect(headScratchLength(model, 10 * tokens)).toBeLessThan(tokens * (vocabulary + width + 1));

    const run = async (...parts: readonly number[]) => {
      const head: HeadPass = {
        weights,
        gradients: { norm: reals(width), head: reals(vocabulary * width) },
        scratch: reals(headScratchLength(model, tokens)),
        losses: reals(tokens),
        targets,
      };
      const dx = reals(tokens * width);
      let first = 0;
      for (const rows of parts) {
        const [losses, own] = [rowsOf(head.losses, 1, first, rows), rowsOf(targets, 1, first, rows)];
        const part = { ...head, losses, targets: own };
        const [dxPart, xPart] = [rowsOf(dx, width, first, rows), rowsOf(x, width, first, rows)];
        headForwardBackward(device.kernels, model, part, dxPart, xPart);
        first += rows;
      }
      return Promise.all(
        [head.losses, dx, head.gradients.norm, head.gradients.head].map((values) => device.download(values)),
      );
    };
    expect(await run(tokens)).toEqual(await run(128, 2));
    device.close();
  });
});
