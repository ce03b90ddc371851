/**
 * One scenario from start to verdict: a swarm of its own trains undisturbed, is disturbed, and trains undisturbed again; then it
 * is stopped, and what its orchestrator wrote is held against what was seen from outside.
 */
import { auditNetwork } from "../../../src/network/audit/audit.ts";
import type { EpochRecord } from "../../../src/protocol/run-view.ts";
import { Lots } from "../../lab/lots.ts";
import { progress, rounded } from "../shared/report.ts";
import { readBooks } from "./books.ts";
import { FaultSwarm, type SwarmOptions } from "./fault-swarm.ts";
import { judge, type ScenarioResult } from "./judge.ts";
import type { Scenario } from "./scenario.ts";
import { SmallDisk } from "./small-disk.ts";

/** For the first processes to start, and for an epoch to end however a fault held it up. */
const patienceMs = 240_000;
/** Of undisturbed training, before and again after the disturbance, and on to the end of the epoch. */
const undisturbedSeconds = 20;

export interface ScenarioOptions extends SwarmOptions {
  /** Undefined: the scenario's own. */
  readonly minutes?: number | undefined;
  /** Leaves all logs and states where they are, to be looked at. */
  readonly keep: boolean;
}

export async function measureScenario(scenario: Scenario, options: ScenarioOptions): Promise<ScenarioResult> {
  const { name, about } = scenario;
  const impossible = scenario.smallDisk ? SmallDisk.impossibleBecause() : null;
  if (impossible !== null) return { scenario: name, about, skippedBecause: impossible, verdict: "not measured" };
  const swarm = await FaultSwarm.start(options, scenario);
  try {
    return await measure(scenario, swarm, options);
  } catch (error) {
    if (!(error instanceof Standstill)) throw error;
    return { scenario: name, about, violations: [error.message], verdict: "missed" };
  } finally {
    await swarm.stop();
    if (options.keep) {
      swarm.keep();
      progress(`${name}: all logs and states are in ${swarm.folder}`);
    } else swarm.dispose();
  }
}

/** There is nothing to disturb. */
class Standstill extends Error {}

async function measure(
  scenario: Scenario,
  swarm: FaultSwarm,
  { minutes = scenario.minutes, seed }: ScenarioOptions,
): Promise<ScenarioResult> {
  const { watcher, book } = swarm;
  const say = (text: string) => progress(`${scenario.name}: ${text}`);
  say("the swarm is starting");
  const begin = await epochEnd(swarm, () => true);
  const calm = await epochEnd(swarm, isAfter(begin, undisturbedSeconds));

  say(`${scenario.about}, for ${rounded(minutes * 60, 0)} s`);
  const faultsAtMs: number[] = [];
  const disturbedFromMs = performance.now();
  const details = await scenario.disturb({
    swarm,
    seconds: minutes * 60,
    lots: new Lots(seed, scenario.name),
    mark: () => faultsAtMs.push(performance.now()),
  });
  const overMs = Date.now();
  const recovered = await epochEnd(swarm, ({ finishedAtMs }) => finishedAtMs > overMs);
  say("let alone again");
  const end = await epochEnd(swarm, isAfter(recovered, undisturbedSeconds));
  await swarm.stop();

  const { findings } = await auditNetwork(swarm.orchestratorFolder);
  const { credits: creditsShown, contradictions } = watcher;
  return judge(scenario, {
    books: await readBooks(swarm.orchestratorFolder),
    details,
    spans: {
      before: { from: begin, to: calm },
      disturbed: { from: calm, to: recovered },
      after: { from: recovered, to: end },
    },
    disturbedFromMs,
    faultsAtMs,
    book,
    creditsShown,
    contradictions,
    findings: findings.map(({ what }) => what),
  });
}

function isAfter({ finishedAtMs }: EpochRecord, seconds: number): (epoch: EpochRecord) => boolean {
  return (epoch) => epoch.finishedAtMs >= finishedAtMs + 1000 * seconds;
}

/** The first such epoch. Where none ends any more, the last one, as if it had gone on until now: standing still counts. */
async function epochEnd({ watcher }: FaultSwarm, isMeant: (epoch: EpochRecord) => boolean): Promise<EpochRecord> {
  const { epochs } = watcher;
  await watcher.until(() => epochs.some(isMeant), patienceMs);
  const last = epochs.at(-1);
  if (last === undefined) throw new Standstill(`undisturbed, no epoch ended within ${patienceMs / 1000} s`);
  return epochs.find(isMeant) ?? { ...last, finishedAtMs: Date.now() };
}
