/**
 * `npm run bench -- compute`: training steps of Llama blocks through the training engine, in tokens per second, and the share
 * of this machine's matrix-multiplication rate that they reach. With `--peer COMMAND` another program that takes the same flags
 * and prints the same keys is measured in turn with ours, round by round. With `--suite` all configurations and figures that
 * docs/benchmarks.md reports, `--only PATTERN` those whose names match.
 */
import { z } from "zod";
import { configurationFlags, configurationSchema } from "./compute/configuration.ts";
import {
  adamwCost,
  bestGemm,
  figuresOf,
  type RatesRound,
  type Round,
  ratesRound,
  trainingRound,
  warnOfSlowPeer,
} from "./compute/measure.ts";
import { flopPerToken, shapeOf } from "./compute/shape.ts";
import { runSuite } from "./compute/suite.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance, rounded } from "./shared/report.ts";

const flags = readFlags(
  z.object({
    ...configurationFlags,
    rounds: count.default(5),
    peer: z.string().optional(),
    suite: given,
    only: z.string().default(""),
    json: given,
  }),
);
const peer = flags.peer?.split(" ") ?? null;
const seed = 1;

if (flags.suite) {
  const only = new RegExp(flags.only);
  printResult({ ...(await runSuite({ rounds: flags.rounds, peer, only, json: flags.json })), ...provenance(seed) });
} else printResult({ ...measureOne(), ...provenance(seed) });

function measureOne() {
  const configuration = configurationSchema.parse(flags);
  const rates: RatesRound[] = [];
  const rounds: Round[] = [];
  for (let round = 1; round <= flags.rounds; round++) {
    progress(`round ${round} of ${flags.rounds}`);
    rates.push(ratesRound(configuration, peer));
    rounds.push(trainingRound(configuration, peer));
  }
  const figures = figuresOf(configuration, rounds);
  warnOfSlowPeer(figures, "this configuration");
  const gemm = bestGemm(rates);
  const fractionOfGemm = figures.blockGflops / gemm.gemmGflops;
  const { backend, dtype, threads, adamw } = configuration;
  return {
    engine: `train-at-home ${backend}`,
    dtype,
    threads,
    adamw,
    shape: shapeOf(configuration),
    rounds: flags.rounds,
    ...figures,
    ...gemm,
    fractionOfGemm: rounded(fractionOfGemm, 3),
    /** The same when only the products that causal attention needs are counted. */
    causalFractionOfGemm: rounded(
      (fractionOfGemm * flopPerToken(configuration, "causal")) / flopPerToken(configuration),
      3,
    ),
    adamwNanosecondsPerParameter: adamwCost(rates),
  };
}
