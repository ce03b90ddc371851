/**
 * `npm run bench -- properties --sequences 100000`: tries so many random sequences of events on the orchestrator's core, and says
 * whether a rule broke, by which sequence. The test suite tries some hundreds of them.
 */
import fc from "fast-check";
import { z } from "zod";
import { checkSequence, randomSequence } from "../../src/network/orchestrator/core/random-sequence.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance, rounded } from "./shared/report.ts";

const flags = readFlags(z.object({ sequences: count.default(100_000), seed: count.default(1), json: given }));

/** Between two lines that say how far it is. */
const progressInterval = 1000;

const totals = { sequences: 0, events: 0, epochs: 0, attempts: 0, partitionsLost: 0 };
const startMs = performance.now();
const outcome = fc.check(
  fc.property(randomSequence, (sequence) => {
    const { state, events } = checkSequence(sequence);
    totals.events += events;
    totals.epochs += state.epoch;
    totals.attempts += state.attempt;
    totals.partitionsLost += state.partitionsLost;
    if (++totals.sequences % progressInterval === 0) progress(`${totals.sequences} sequences, ${totals.events} events`);
  }),
  { numRuns: flags.sequences, seed: flags.seed },
);
const seconds = (performance.now() - startMs) / 1000;

const result = {
  benchmark: "properties",
  ...provenance(flags.seed),
  ...totals,
  seconds: rounded(seconds, 1),
  eventsPerSecond: Math.round(totals.events / seconds),
  verdict: outcome.failed ? "broken" : "kept",
  failure: outcome.failed ? { path: outcome.counterexamplePath, text: String(outcome.errorInstance) } : null,
};
if (flags.json) printResult(result);
else progress(JSON.stringify(result, null, 2));
