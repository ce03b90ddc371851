import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { noCompression, type VectorCodec } from "../../protocol/run-config.ts";
import { decodeVector, encodeVector, vectorPayloadBytes } from "../codec/vector.ts";
import { fillNormal, streamKey } from "../random.ts";
import { CompressedMerge } from "./compressed-merge.ts";
import { residualCodec } from "./error-feedback.ts";

const seed = 20_261_126;
const length = 1000;
const whole = { from: 0, length };
const codecs: readonly VectorCodec[] = [
  { kind: "dense", bits: 1 },
  { kind: "dense", bits: 2 },
  { kind: "dense", bits: 4 },
  { kind: "dense", bits: 8 },
  { kind: "top-k", share: 0.05 },
];
const twoBits: VectorCodec = { kind: "dense", bits: 2 };

function mergeIn(codec: VectorCodec, mode: "sync" | "local-steps" = "local-steps"): CompressedMerge {
  return new CompressedMerge({ mode, compression: { ...noCompression, merge: codec } }, length);
}

function random(name: string): Float32Array {
  const values = new Float32Array(length);
  fillNormal(values, streamKey(seed, name), 1);
  return values;
}

async function contribute(replica: CompressedMerge, values: Float32Array): Promise<Uint8Array> {
  const [payload] = await replica.contribute([whole], async () => values.slice());
  if (payload === undefined) throw new Error("one slice");
  return payload;
}

/** One epoch: the first two replicas own the only slice. What everybody decodes. */
async function mergeOnce(
  replicas: readonly CompressedMerge[],
  values: readonly Float32Array[],
  tokens: readonly number[],
): Promise<Float32Array> {
  const payloads = await Promise.all(
    replicas.map((replica, index) => contribute(replica, values[index] ?? random("none"))),
  );
  const contributions = payloads.map((payload, index) => ({ payload, tokens: tokens[index] ?? 1 }));
  const averaged = replicas.map((replica, index) =>
    replica.average({ ...whole, contributions, own: index < 2 ? index : null }),
  );
  const [first] = averaged;
  if (!first?.payload) throw new Error("nothing was averaged");
  for (const { payload } of averaged) expect(payload).toEqual(first.payload);
  for (const replica of replicas) replica.end(true);
  return decodeVector(first.payload, length);
}

function lengthOf(values: Iterable<number>): number {
  let squares = 0;
  for (const value of values) squares += value ** 2;
  return Math.sqrt(squares);
}

describe("error feedback", () => {
  const worlds = fc.record({
    codec: fc.constantFrom(...codecs),
    mode: fc.constantFrom("sync" as const, "local-steps" as const),
    tokens: fc.array(fc.integer({ min: 100, max: 140 }), { minLength: 2, maxLength: 5 }),
    epochs: fc.integer({ min: 1, max: 12 }),
  });

  it("makes what was merged over the epochs the sum of what was meant, but for the last residuals", async () => {
    await fc.assert(
      fc.asyncProperty(worlds, async ({ codec, mode, tokens, epochs }) => {
        const replicas = tokens.map(() => mergeIn(codec, mode));
        const all = tokens.reduce((sum, one) => sum + one, 0);
        const factors = tokens.map((one) => (mode === "sync" ? 1 : one / all));
        const missing = new Float64Array(length);
        for (let epoch = 0; epoch < epochs; epoch++) {
          const values = tokens.map((_, replica) => random(`${epoch} ${replica}`));
          const merged = await mergeOnce(replicas, values, tokens);
          for (const [i, value] of merged.entries()) {
            const meant = values.reduce((sum, one, replica) => sum + (factors[replica] ?? 0) * (one[i] ?? 0), 0);
            missing[i] = (missing[i] ?? 0) + meant - value;
          }
        }
        const residuals = replicas.map((replica) => replica.residual());
        const unexplained = missing.slice();
        for (const [replica, payload] of residuals.entries())
          for (const [i, value] of decodeVector(payload ?? new Uint8Array(), length).entries())
            unexplained[i] = (unexplained[i] ?? 0) - (factors[replica] ?? 0) * value;
        // The residuals were read in eight bits.
        expect(lengthOf(unexplained)).toBeLessThan(0.03 * lengthOf(missing) + 1e-4);
      }),
      { seed, numRuns: 20 },
    );
  });

  it("keeps what is missing bounded, where it would grow without", async () => {
    const constant = random("the same in every epoch");
    const missing = new Float64Array(length);
    const replicas = [mergeIn(twoBits), mergeIn(twoBits)];
    for (let epoch = 0; epoch < 40; epoch++) {
      const merged = await mergeOnce(replicas, [constant, constant], [1, 1]);
      for (const [i, value] of merged.entries()) missing[i] = (missing[i] ?? 0) + (constant[i] ?? 0) - value;
    }
    expect(lengthOf(missing)).toBeLessThan(2 * lengthOf(constant));
    const once = decodeVector(encodeVector(constant, twoBits, 0), length);
    expect(40 * lengthOf(constant.map((value, i) => value - (once[i] ?? 0)))).toBeGreaterThan(10 * lengthOf(constant));
  });

  it("is what it was when a merge comes to nothing, and when a contribution is begun anew", async () => {
    const replica = mergeIn(twoBits);
    await contribute(replica, random("counted"));
    replica.end(true);
    const before = replica.residual();
    const payload = await contribute(replica, random("in vain"));
    replica.average({
      ...whole,
      contributions: [
        { payload, tokens: 1 },
        { payload, tokens: 3 },
      ],
      own: 0,
    });
    expect(replica.residual()).not.toEqual(before);
    const again = await contribute(replica, random("in vain"));
    expect(again).toEqual(payload);
    replica.end(false);
    expect(replica.residual()).toEqual(before);
  });

  it("is what it was when a contribution turns out to be broken half-way", async () => {
    const replica = mergeIn(twoBits);
    await contribute(replica, random("counted"));
    replica.end(true);
    const before = replica.residual();
    const halves = [
      { from: 0, length: 500 },
      { from: 500, length: 500 },
    ];
    const broken = replica.contribute(halves, async ({ from }) => {
      if (from > 0) throw new Error("broken");
      return random("half").subarray(0, 500);
    });
    await expect(broken).rejects.toThrow("broken");
    expect(replica.residual()).toEqual(before);
  });

  it("outlives its worker, to within a hundredth, and gives way to a newer one", async () => {
    const [replica, heir, busy] = [mergeIn(twoBits), mergeIn(twoBits), mergeIn(twoBits)];
    await contribute(replica, random("a"));
    const saved = replica.residual() ?? new Uint8Array();
    expect(heir.loadResidual(saved)).toBe("taken");
    const [original, inherited] = [replica, heir].map((one) =>
      decodeVector(one.residual() ?? new Uint8Array(), length),
    );
    const gap = original?.map((value, i) => value - (inherited?.[i] ?? Number.NaN)) ?? [];
    expect(lengthOf(gap)).toBeLessThan(0.02 * lengthOf(original ?? []));
    await contribute(busy, random("b"));
    const own = busy.residual();
    expect(busy.loadResidual(saved)).toBe("unwanted");
    expect(busy.residual()).toEqual(own);
  });

  it("refuses a residual of another length or of no kind, and takes none where nothing is rounded", () => {
    const { most } = vectorPayloadBytes(residualCodec, length);
    for (const payload of [new Uint8Array(), new Uint8Array(most), new Uint8Array(most + 1)])
      expect(mergeIn(twoBits).loadResidual(payload)).toBe("damaged");
    expect(mergeIn({ kind: "f32" }).loadResidual(new Uint8Array())).toBe("unwanted");
    expect(mergeIn(twoBits).residual()).toBeNull();
  });
});

describe("an average", () => {
  it("of one contribution is its very payload, not rounded twice", async () => {
    const replica = mergeIn(twoBits);
    const payload = await contribute(replica, random("a"));
    const contributions = [
      { payload, tokens: 5 },
      { payload: null, tokens: 7 },
    ];
    expect(replica.average({ ...whole, contributions, own: 0 })).toEqual({ payload, outliers: [] });
  });

  it("leaves out what does not decode, as what it is: the work of an outlier", async () => {
    const payloads = await Promise.all(["a", "b"].map((name) => contribute(mergeIn(twoBits), random(name))));
    const honest = payloads.map((payload) => ({ payload, tokens: 10 }));
    const alone = mergeIn(twoBits).average({ ...whole, contributions: honest, own: null });
    const { most } = vectorPayloadBytes(twoBits, length);
    const lies = [
      new Uint8Array(),
      new Uint8Array(most),
      new Uint8Array(most).fill(0xff),
      Uint8Array.from(payloads[0]?.subarray(0, most - 1) ?? []),
      encodeVector(random("c"), { kind: "f32" }, 0),
    ];
    for (const payload of lies)
      for (const place of [0, 1, 2]) {
        const contributions = honest.toSpliced(place, 0, { payload, tokens: 10 });
        const averaged = mergeIn(twoBits).average({ ...whole, contributions, own: null });
        expect(averaged).toEqual({ payload: alone.payload, outliers: [place] });
      }
  });

  it("that is larger than any number in training is none", () => {
    const cases = [
      { codec: { kind: "f32" }, value: 3e38 },
      { codec: twoBits, value: 2 ** 46 },
    ] as const;
    for (const { codec, value } of cases) {
      const payload = encodeVector(new Float32Array(length).fill(value), codec, 0);
      const contributions = Array.from({ length: 9 }, () => ({ payload, tokens: 1 }));
      const averaged = mergeIn(codec, "sync").average({ ...whole, contributions, own: 0 });
      expect(averaged).toEqual({ payload: null, outliers: [] });
    }
  });

  it("of whoever trained next to nothing leaves it with no more than its usual share of the error", async () => {
    const replica = mergeIn(twoBits);
    const [own, other] = [await contribute(replica, random("a")), await contribute(mergeIn(twoBits), random("b"))];
    const before = decodeVector(replica.residual() ?? new Uint8Array(), length);
    const contributions = [
      { payload: own, tokens: 1 },
      { payload: other, tokens: 1_000_000 },
    ];
    replica.average({ ...whole, contributions, own: 0 });
    const after = decodeVector(replica.residual() ?? new Uint8Array(), length);
    expect(lengthOf(after.map((value, i) => value - (before[i] ?? 0)))).toBeLessThan(2 * lengthOf(random("b")));
  });
});

describe("merges in two bits", () => {
  it("of replicas that train on noisy samples of one problem end where uncompressed ones do", async () => {
    const target = random("target");
    const endsAt = async (codec: VectorCodec) => {
      const replicas = [0, 1, 2, 3].map(() => mergeIn(codec));
      let weights = new Float32Array(length);
      for (let epoch = 0; epoch < 60; epoch++) {
        // A tenth of the way to where this replica's samples say that the minimum is.
        const moved = replicas.map((_, replica) => {
          const noise = random(`noise ${epoch} ${replica}`);
          return weights.map((weight, i) => (weight - (target[i] ?? 0) - (noise[i] ?? 0)) / 10);
        });
        const merged = await mergeOnce(replicas, moved, [1, 1, 1, 1]);
        weights = weights.map((weight, i) => weight - (merged[i] ?? 0));
      }
      return lengthOf(weights.map((weight, i) => weight - (target[i] ?? 0))) / lengthOf(target);
    };
    const uncompressed = await endsAt({ kind: "f32" });
    expect(uncompressed).toBeLessThan(0.2);
    expect(await endsAt(twoBits)).toBeLessThan(1.5 * uncompressed);
  });
});
