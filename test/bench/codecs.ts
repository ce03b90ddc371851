/**
 * `npm run bench -- codecs`: what each codec saves, loses and takes, whether its mean is right, and what it makes of bytes that no encoder
 * wrote.
 */
import { z } from "zod";
import { nativeKernelSets } from "../../src/compute/codec/native.ts";
import { measuredCodecs } from "./codecs/codec-list.ts";
import { fuzz } from "./codecs/fuzz.ts";
import { type CodecFigures, measureCodec } from "./codecs/measure-codec.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance, rounded, verdictOf } from "./shared/report.ts";

const flags = readFlags(
  z.object({
    /** Of the fuzz. */
    cases: count.default(1_000_000),
    seed: z.coerce.number().int().nonnegative().default(1),
    json: given,
  }),
);

const targets = {
  /** Of tampered payloads. */
  failed: { atMost: 0 },
  /** Encode and decode together, of the row formats that rotate, at the widest rows. */
  nsPerElement: { atMost: 2 },
  /** Of an unbiased format, in standard deviations of what chance makes of it. */
  bias: { atMost: 1.5 },
} as const;
const elements = 1 << 18;
const widths = [32, 100, 256, 512] as const;

const rows: CodecFigures[] = [];
for (const columns of widths)
  for (const codec of measuredCodecs) {
    // A vector has no columns: once is enough.
    if (codec.name.startsWith("vector") && columns !== widths[0]) continue;
    const figures = measureCodec(codec, { rows: Math.ceil(elements / columns), columns }, flags.seed);
    rows.push(figures);
    progress(
      `${figures.codec}, ${columns}: ${figures.ratio} times fewer bytes, error ${figures.relativeError}, ` +
        `${figures.encodeNsPerElement} + ${figures.decodeNsPerElement} ns per number`,
    );
  }

progress(`${flags.cases} tampered payloads …`);
const fuzzed = fuzz(flags.cases, flags.seed);

const unbiased = new Set(measuredCodecs.filter(({ isUnbiased }) => isUnbiased).map(({ name }) => name));
const worstBias = Math.max(
  ...rows.flatMap(({ codec, bias, biasByChance }) =>
    unbiased.has(codec) && bias !== null && biasByChance !== null ? [bias / biasByChance] : [],
  ),
);
const rotatingNs = rows
  .filter(({ codec, columns }) => /^rows int/.test(codec) && columns === widths.at(-1))
  .map((figures) => figures.encodeNsPerElement + figures.decodeNsPerElement);
printResult({
  instructionSet: nativeKernelSets()[0]?.[0] ?? "none",
  fuzz: fuzzed,
  worstBiasInDeviations: rounded(worstBias, 2),
  slowestNsPerElement: rounded(Math.max(...rotatingNs), 2),
  verdicts: {
    tampering: verdictOf(fuzzed.failed, targets.failed),
    bias: verdictOf(worstBias, targets.bias),
    speed: verdictOf(Math.max(...rotatingNs), targets.nsPerElement),
  },
  rows,
  ...provenance(flags.seed),
});
