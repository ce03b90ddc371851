import type { Command } from "commander";
import { observeRun } from "../../miner/session/observe.ts";
import { FailureError } from "../../protocol/failure.ts";
import { runIdSchema } from "../../protocol/ids.ts";
import { countText, durationText, lossText, runText } from "../formats.ts";
import { type CommonOptions, networkUrlValue, valueParser, withCommonOptions } from "../option-types.ts";
import type { Output } from "../output.ts";
import type { RunDetails } from "../output-schemas.ts";
import { placementReport, placementText } from "../placement-report.ts";
import { withDaemon } from "../with-daemon.ts";

const shownEpochs = 10;
const runIdValue = valueParser(runIdSchema);

interface LookOptions extends CommonOptions {
  readonly network?: string;
}

/** `tah run …`: the runs that this computer's daemon takes part in, or those of any network that can be reached. Returns the group. */
export function addRunCommands(program: Command, output: Output): Command {
  const run = program.command("run").description("Look at the run that this computer works on, and steer it.");

  withLookOptions(run.command("list").description("The runs of this computer's network.")).action(
    async (options: LookOptions) => {
      const details = await look(options);
      const runs = details === null ? [] : [details.run];
      output.result({ runs }, () => runs.map(runText).join("\n") || "no run");
    },
  );

  withLookOptions(run.command("show").argument("[run]", "its id; by default the one in work", runIdValue))
    .description("One run with its epochs, evaluations and log.")
    .action(async (runId: string | undefined, options: LookOptions) => {
      output.result<RunDetails>(await find(runId, options), detailsText);
    });

  withLookOptions(run.command("placement").argument("[run]", "its id; by default the one in work", runIdValue))
    .description("Which stages each miner holds, and why; how fast each stage is, and who would be missed.")
    .action(async (runId: string | undefined, options: LookOptions) => {
      const { run } = await find(runId, options);
      const report = placementReport(run);
      if (report === null)
        throw new FailureError("not-found", `run ${run.runId} has not placed anybody yet`, {
          action: "It places miners when every stage can have one; tah run show says what it waits for.",
          retry: true,
        });
      output.result(report, placementText);
    });

  for (const action of ["pause", "resume"] as const) {
    withCommonOptions(run.command(action).argument("<run>", "its id", runIdValue))
      .description(
        action === "pause" ? "Pause a run for everyone; only on a network of this computer." : "Resume a paused run.",
      )
      .action(async (runId: ReturnType<typeof runIdValue>, { state }: CommonOptions) => {
        await withDaemon(state, (api) => api.call(`${action}-run`, { runId }));
        output.result({ runId }, () => `${runId} was asked to ${action}.`);
      });
  }
  return run;
}

function withLookOptions(command: Command): Command {
  return withCommonOptions(command).option("--network <url>", "look at this network instead", networkUrlValue);
}

async function find(runId: string | undefined, options: LookOptions): Promise<RunDetails> {
  const details = await look(options);
  if (details !== null && (runId === undefined || details.run.runId === runId)) return details;
  throw new FailureError("not-found", runId ? `there is no run ${runId} here` : "there is no run here yet", {
    action: "tah run list shows which runs there are.",
    retry: true,
  });
}

/** Null while there is no run. */
async function look({ network, state }: LookOptions): Promise<RunDetails | null> {
  if (network !== undefined) {
    const { view, epochs = [], evaluations = [], log = [] } = await observeRun(network);
    return { run: view, epochs, evaluations, log };
  }
  const snapshot = await withDaemon(state, (api) => api.call("snapshot", {}));
  const { epochs, evaluations, runLog: log } = snapshot.lists;
  return snapshot.state.run && { run: snapshot.state.run, epochs, evaluations, log };
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
