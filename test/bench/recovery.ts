/** `npm run bench -- recovery`: an orchestrator killed at many instants, and whether anything that it had acknowledged is lost. */
import { z } from "zod";
import { killAndCheck } from "./recovery/kill-and-check.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { printResult, progress, provenance, verdictOf } from "./shared/report.ts";

const { kills, seed } = readFlags(z.object({ kills: count.default(100), seed: count.default(1), json: given }));
const result = await killAndCheck({
  kills,
  seed,
  onKill(kill) {
    if ((kill + 1) % 10 === 0) progress(`${kill + 1} of ${kills} kills`);
  },
});
printResult({
  ...result,
  verdict: verdictOf(result.lost.length + result.problems.length, { atMost: 0 }),
  ...provenance(seed),
});
