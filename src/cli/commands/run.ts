import type { Command } from "commander";
import type { PresetName } from "../../compute/model/presets.ts";
import { observeRuns } from "../../miner/session/observe.ts";
import { planFor } from "../../network/expected-plan.ts";
import { FailureError } from "../../protocol/failure.ts";
import { type RunId, runIdSchema } from "../../protocol/ids.ts";
import type { Plan } from "../../protocol/plan-view.ts";
import type { RunDetails, RunSummary } from "../../protocol/run-view.ts";
import { countText, durationText, lossText, runsText, runText } from "../formats.ts";
import {
  type CommonOptions,
  countValue,
  networkUrlValue,
  rateValue,
  valueParser,
  withCommonOptions,
} from "../option-types.ts";
import type { Output } from "../output.ts";
import { placementReport, placementText } from "../placement-report.ts";
import { planText } from "../plan-text.ts";
import { presetOption } from "../run-options.ts";
import { withDaemon } from "../with-daemon.ts";
import { addOwnerCommands } from "./owner.ts";

const shownEpochs = 10;
const runIdValue = valueParser(runIdSchema);

interface LookOptions extends CommonOptions {
  readonly network?: string;
}

interface PlanOptions extends CommonOptions {
  readonly preset: PresetName;
  readonly stages?: number;
  readonly replicas: number;
  readonly tokens?: number;
  readonly upMbps: number;
  readonly downMbps: number;
  readonly rttMs: number;
}

const homeLink = { upMbps: 20, downMbps: 100, rttMs: 40 };
const bytesPerMegabit = 125_000;

/** `tah run …`: the runs of the network that this computer's daemon takes part in, or of any that can be reached. Returns the group. */
export function addRunCommands(program: Command, output: Output): Command {
  const run = program.command("run").description("Look at the runs of a network; as its owner create and steer them.");

  withLookOptions(run.command("list").description("The runs of this computer's network.")).action(
    async (options: LookOptions) => {
      output.result({ runs: await list(options) }, ({ runs }) => runsText(runs));
    },
  );

  withLookOptions(run.command("show").argument("[run]", "its id; by default the one in work", runIdValue))
    .description("One run with its epochs, evaluations and log.")
    .action(async (runId: RunId | undefined, options: LookOptions) => {
      output.result<RunDetails>(await find(runId, options), detailsText);
    });

  withLookOptions(run.command("placement").argument("[run]", "its id; by default the one in work", runIdValue))
    .description("Which stages each miner holds, and why; how fast each stage is, and who would be missed.")
    .action(async (runId: RunId | undefined, options: LookOptions) => {
      const { run } = await find(runId, options);
      const report = placementReport(run);
      if (report === null)
        throw new FailureError("not-found", `run ${run.runId} has not placed anybody yet`, {
          action: "It places miners when every stage can have one; tah run show says what it waits for.",
          retry: true,
        });
      output.result(report, placementText);
    });

  withCommonOptions(run.command("plan"))
    .description("How a run would be compressed on given links, what that costs, and where it was measured.")
    .addOption(presetOption().default("demo"))
    .option("--stages <number>", "cut the model into so many stages", countValue)
    .option("--replicas <number>", "miners per stage", countValue, 2)
    .option("--tokens <number>", "that it shall train: a short run bears fewer per step", countValue)
    .option("--up-mbps <number>", "of the slowest miner's link", rateValue, homeLink.upMbps)
    .option("--down-mbps <number>", "likewise", rateValue, homeLink.downMbps)
    .option("--rtt-ms <number>", "to the network and back", rateValue, homeLink.rttMs)
    .action((options: PlanOptions) => {
      const { preset, stages, replicas, tokens, upMbps, downMbps, rttMs } = options;
      const link = {
        upBytesPerSecond: upMbps * bytesPerMegabit,
        downBytesPerSecond: downMbps * bytesPerMegabit,
        roundTripMs: rttMs,
      };
      output.result<Plan>(planFor({ preset, stages, replicas, tokens }, link), planText);
    });

  addOwnerCommands(run, output);
  return run;
}

function withLookOptions(command: Command): Command {
  return withCommonOptions(command).option("--network <url>", "look at this network instead", networkUrlValue);
}

async function list({ network, state }: LookOptions): Promise<readonly RunSummary[]> {
  if (network !== undefined) return (await observeRuns(network)).runs;
  return (await withDaemon(state, (api) => api.call("snapshot", {}))).state.runs;
}

/** Without an id it is the one that the daemon works on, or the network's first. Rejects with `FailureError` not-found. */
async function find(runId: RunId | undefined, { network, state }: LookOptions): Promise<RunDetails> {
  if (network === undefined)
    return withDaemon(state, async (api) => {
      const chosen = runId ?? (await api.call("snapshot", {})).state.run?.runId;
      if (chosen === undefined) throw notFound(chosen);
      return api.call("run-details", { runId: chosen });
    });
  const { runs, details } = await observeRuns(network);
  const chosen = runId ?? runs[0]?.runId;
  const observed = chosen === undefined ? undefined : details.get(chosen);
  if (observed === undefined) throw notFound(chosen);
  const { view, epochs = [], evaluations = [], log = [] } = observed;
  return { run: view, epochs, evaluations, log };
}

function notFound(runId: RunId | undefined): FailureError {
  return new FailureError("not-found", runId ? `there is no run ${runId} here` : "there is no run here yet", {
    action: "tah run list shows which runs there are.",
    retry: true,
  });
}

function detailsText({ run, epochs, evaluations }: RunDetails): string {
  const losses = new Map(evaluations.map(({ epoch, validationLossNats }) => [epoch, validationLossNats]));
  const rows = epochs.slice(-shownEpochs).map(({ epoch, tokens, trainLossNats, durationMs }) => {
    const loss = `loss ${lossText(trainLossNats)}, validation ${lossText(losses.get(epoch))}`;
    return `  epoch ${epoch}: ${countText(tokens)} tokens, ${loss}, ${durationText(durationMs / 1000)}`;
  });
  const sample = evaluations.findLast((evaluation) => evaluation.sample !== null)?.sample;
  return [runText(run), ...rows, ...(sample ? ["", `${sample.prompt}${sample.text}`] : [])].join("\n");
}
