/** `tah run create|import|pause|resume|stop|weight|delete`: what only a network's owner may do. */
import { resolve } from "node:path";
import { type Command, Option } from "commander";
import { commandNetwork } from "../../miner/session/observe.ts";
import { loadIdentity } from "../../miner/store/identity-file.ts";
import { openStateFolder, stateFolderPath } from "../../miner/store/state-folder.ts";
import { expectedPlan } from "../../network/expected-plan.ts";
import { absoluteStart } from "../../network/run-options.ts";
import { assertNever } from "../../protocol/assert-never.ts";
import { FailureError } from "../../protocol/failure.ts";
import { type RunId, runIdSchema } from "../../protocol/ids.ts";
import { commands, type LocalApi } from "../../protocol/local-api.ts";
import { type OwnerCommand, runWeightSchema } from "../../protocol/owner-commands.ts";
import { identityHome } from "../identity-home.ts";
import { type CommonOptions, networkUrlValue, valueParser, wholeNumber, withCommonOptions } from "../option-types.ts";
import type { Output } from "../output.ts";
import { planText } from "../plan-text.ts";
import { presetOption, type RunOptions, runOptionsOf, withRunOptions } from "../run-options.ts";
import { withDaemon } from "../with-daemon.ts";

const runIdValue = valueParser(runIdSchema);
const weightValue = valueParser(wholeNumber.pipe(runWeightSchema));

interface OwnerOptions extends CommonOptions {
  readonly network?: string;
}

interface CreateOptions extends OwnerOptions, RunOptions {
  readonly id?: RunId;
  readonly weight: number;
}

interface DeleteOptions extends OwnerOptions {
  readonly yes?: boolean;
}

const steering = {
  pause: { action: "pause", local: "pause-run", done: "is paused once its epoch is merged" },
  resume: { action: "resume", local: "resume-run", done: "goes on" },
  stop: { action: "finish", local: "stop-run", done: "ends once its epoch is merged" },
} as const;

export function addOwnerCommands(run: Command, output: Output): void {
  const told = (runId: RunId, text: string) => output.result({ runId }, () => `${runId} ${text}.`);

  const create = async (options: CreateOptions, from: string | undefined) => {
    const { id, weight, network } = options;
    const asked = runOptionsOf({ ...options, compression: options.compression ?? "auto", from });
    const plan = expectedPlan(asked);
    const run = { ...asked, runId: id, weight };
    // On a network elsewhere a path means what it means there.
    const isHere = network === undefined;
    const data = isHere && run.data !== undefined ? resolve(run.data) : run.data;
    const start = isHere && from !== undefined ? absoluteStart(from) : from;
    const runId = await send(options, { type: "create-run", run: { ...run, data, from: start } }, output);
    const created = `${runId} is created, and trains when it has miners.`;
    output.result({ runId, plan }, () => (plan === null ? created : [created, planText(plan)].join("\n")));
  };
  withCreateOptions(ownerCommand(run, "create", "create-run")).action((options: CreateOptions) =>
    create(options, options.from),
  );
  withCreateOptions(ownerCommand(run, "import", "create-run"))
    .argument("<model>", "as --from has it")
    .description("Add a run that goes on with a model that there is already, as run create --from does.")
    .action((model: string, options: CreateOptions) => create(options, model));

  for (const [name, { action, local, done }] of Object.entries(steering))
    ownerCommand(run, name, local)
      .argument("<run>", "its id", runIdValue)
      .action(async (runId: RunId, options: OwnerOptions) => {
        told(await send(options, { type: "steer-run", runId, action }, output), done);
      });

  ownerCommand(run, "weight", "reweight-run")
    .argument("<run>", "its id", runIdValue)
    .argument("<number>", "at least 1", weightValue)
    .action(async (runId: RunId, weight: number, options: OwnerOptions) => {
      told(await send(options, { type: "reweight-run", runId, weight }, output), `has the weight ${weight}`);
    });

  ownerCommand(run, "delete", "delete-run")
    .argument("<run>", "its id", runIdValue)
    .option("--yes", "confirm that its checkpoints are not needed any more")
    .action(async (runId: RunId, options: DeleteOptions) => {
      if (options.yes !== true)
        throw new FailureError("invalid-option", `Deleting ${runId} takes its checkpoints and its log, for good.`, {
          action: "Confirm by --yes.",
        });
      told(await send(options, { type: "delete-run", runId }, output), "is deleted");
    });
}

function withCreateOptions(command: Command): Command {
  return withRunOptions(command, presetOption().makeOptionMandatory())
    .addOption(
      new Option("--weight <number>", "share of the miners, against other runs'").argParser(weightValue).default(1),
    )
    .option("--id <run>", "what to call it; by default as its preset, with a number where that is taken", runIdValue);
}

function ownerCommand(run: Command, name: string, local: keyof typeof commands): Command {
  return withCommonOptions(run.command(name).description(commands[local].summary)).option(
    "--network <url>",
    "of this network, with this computer's key; by default of the one that its daemon takes part in",
    networkUrlValue,
  );
}

async function send(options: OwnerOptions, command: OwnerCommand, output: Output): Promise<RunId> {
  const { network, state } = options;
  if (network === undefined) return withDaemon(state ?? stateFolderPath(), (api) => sendToDaemon(api, command));
  const { stateFolder, stores } = identityHome(options, output);
  openStateFolder(stateFolder);
  return commandNetwork(network, await loadIdentity(stateFolder, stores), command);
}

async function sendToDaemon(api: LocalApi, command: OwnerCommand): Promise<RunId> {
  switch (command.type) {
    case "create-run":
      return (await api.call("create-run", command.run)).runId;
    case "steer-run":
      await api.call(command.action === "finish" ? "stop-run" : `${command.action}-run`, { runId: command.runId });
      return command.runId;
    case "reweight-run":
      await api.call("reweight-run", { runId: command.runId, weight: command.weight });
      return command.runId;
    case "delete-run":
      await api.call("delete-run", { runId: command.runId });
      return command.runId;
    default:
      return assertNever(command);
  }
}
