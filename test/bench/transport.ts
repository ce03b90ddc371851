/**
 * `npm run bench -- transport`: what links between two miners carry, what that costs, and how soon something urgent gets past bulk
 * data. Without flags: in memory, relayed and direct on loopback, and direct between emulated homes.
 */
import { z } from "zod";
import { EmulatedHomes } from "../lab/homes/emulated-homes.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance, type Target, verdictOf } from "./shared/report.ts";
import { type LinkCase, measureLink } from "./transport/measure-link.ts";

const amount = z.coerce.number().nonnegative();
const flags = readFlags(
  z.object({
    link: z.enum(["memory", "relay", "direct"]).optional(),
    rttMs: amount.optional(),
    lossPercent: amount.default(0),
    /** Of each line, up; and down, unless that has a rate of its own. */
    mbps: z.coerce.number().positive().optional(),
    downMbps: z.coerce.number().positive().optional(),
    seconds: count.default(10),
    seed: count.default(1),
    json: given,
  }),
);

interface Measured extends LinkCase {
  readonly name: string;
  /** MB/s. */
  readonly target: Target | null;
}

const far = { roundTripMs: 50, lossPercent: 0.1, upMbps: null, downMbps: null };
/** A modest line at each home. */
const home = { roundTripMs: 160, lossPercent: 1, upMbps: 5, downMbps: 20 };
const all: readonly Measured[] = [
  { name: "memory", link: "memory", line: null, target: null },
  { name: "relay on loopback", link: "relay", line: null, target: { atLeast: 300 } },
  { name: "direct on loopback", link: "direct", line: null, target: { atLeast: 100 } },
  { name: "direct at 50 ms, 0.1 % lost", link: "direct", line: far, target: { atLeast: 20 } },
  { name: "direct, 5 Mbit/s up and 20 down, 160 ms, 1 % lost", link: "direct", line: home, target: { atLeast: 0.56 } },
];

function asked(): readonly Measured[] {
  const { link, rttMs, lossPercent, mbps = null, downMbps = mbps } = flags;
  if (link === undefined) return all;
  const isFar = rttMs !== undefined || lossPercent > 0 || mbps !== null || downMbps !== null;
  const line = isFar ? { roundTripMs: rttMs ?? 0, lossPercent, upMbps: mbps, downMbps } : null;
  return [{ name: link, link, line, target: null }];
}

const impossible = await EmulatedHomes.impossibleBecause();
const results = [];
for (const { name, target, ...linkCase } of asked()) {
  if (linkCase.line !== null && impossible !== null) {
    progress(`${name}: skipped, ${impossible}`);
    results.push({ name, skipped: impossible });
    continue;
  }
  const figures = await measureLink(linkCase, flags.seconds, flags.seed);
  const { megabytesPerSecond, cpuSecondsPerGigabyte, p50Ms, p99Ms } = figures;
  progress(
    `${name}: ${megabytesPerSecond} MB/s, ${cpuSecondsPerGigabyte} CPU-s/GB, urgent ones ${p50Ms} ms, at most ${p99Ms} ms (99 %)`,
  );
  results.push({ name, ...figures, ...(target && { target, verdict: verdictOf(megabytesPerSecond, target) }) });
}
const [only] = results;
printResult({ ...(results.length === 1 ? only : { results }), seconds: flags.seconds, ...provenance(flags.seed) });
process.exit(0);
