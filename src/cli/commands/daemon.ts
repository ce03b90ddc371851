/**
 * Commands to the daemon on this computer. Their names, descriptions and flags come from the local API's command table; what is
 * written here is only how a result reads in a terminal.
 */
import { type Command, Option } from "commander";
import { z } from "zod";
import { formatLogLine } from "../../miner/log.ts";
import { type CommandName, type CommandParameters, type CommandResult, commands } from "../../protocol/local-api.ts";
import type { AppState, LogLine, MachineView, ProcessView } from "../../protocol/machine-view.ts";
import { connectionText, machineText, processesText, statusText } from "../formats.ts";
import {
  type CommonOptions,
  type ConnectionOptions,
  countValue,
  withCommonOptions,
  withConnectionOptions,
} from "../option-types.ts";
import type { Output } from "../output.ts";
import { withDaemon } from "../with-daemon.ts";
import { addDoctorCommand } from "./doctor.ts";

/** How a command of the table appears on the command line. */
interface Presentation<C extends CommandName, R extends object> {
  /** A result is always an object, so that fields can be added to it. */
  readonly toObject: (result: CommandResult<C>) => R;
  readonly toText: (result: R) => string;
}

export function addDaemonCommands(program: Command, output: Output): void {
  function add<C extends CommandName, R extends object>(name: C, presentation: Presentation<C, R>): void {
    const command = withCommonOptions(program.command(name).description(commands[name].summary));
    for (const option of optionsOf(name)) command.addOption(option);
    command.action(async ({ json: _json, state, ...parameters }: CommonOptions) => {
      // Commander hands over what `optionsOf` named; the table's schema checks it.
      const checked = commands[name].parameters.parse(parameters) as CommandParameters<C>;
      const result = await withDaemon(state, (api) => api.call(name, checked));
      output.result(presentation.toObject(result), presentation.toText);
    });
  }

  addStatusCommand(program, output);
  add("start", { toObject: same<MachineView>, toText: machineText });
  add("pause", { toObject: same<MachineView>, toText: machineText });
  add("stop", { toObject: same<object>, toText: () => "Stopping: work is handed over first." });
  add("processes", {
    toObject: (processes: readonly ProcessView[]) => ({ processes }),
    toText: ({ processes }) => processesText(processes),
  });
  add("logs", {
    toObject: (lines: readonly LogLine[]) => ({ lines }),
    toText: ({ lines }) => lines.map(formatLogLine).join("\n"),
  });
  addDoctorCommand(program, output);
  addLimitCommand(program, output);
}

function addLimitCommand(program: Command, output: Output): void {
  const command = program.command("limit").description(commands.limit.summary);
  withConnectionOptions(withCommonOptions(command)).action(
    async ({ state, maxUploadMbps, maxDownloadMbps, onMetered }: CommonOptions & ConnectionOptions) => {
      const changes = {
        ...(maxUploadMbps !== undefined && { maxUploadMbps: maxUploadMbps === "none" ? null : maxUploadMbps }),
        ...(maxDownloadMbps !== undefined && { maxDownloadMbps: maxDownloadMbps === "none" ? null : maxDownloadMbps }),
        ...(onMetered !== undefined && { onMetered }),
      };
      const machine = await withDaemon(state, (api) => api.call("limit", changes));
      output.result<MachineView>(machine, ({ connection }) => connectionText(connection));
    },
  );
}

/** `snapshot` without the long lists, which `run show` and `logs` print. */
function addStatusCommand(program: Command, output: Output): void {
  withCommonOptions(program.command("status").description("What this machine and its run are doing, and why.")).action(
    async ({ state }: CommonOptions) => {
      const snapshot = await withDaemon(state, (api) => api.call("snapshot", {}));
      output.result<AppState>(snapshot.state, statusText);
    },
  );
}

const propertySchema = z.object({
  enum: z.array(z.string()).optional(),
  default: z.union([z.string(), z.number()]).optional(),
});

function optionsOf(name: CommandName): Option[] {
  const { properties = {} } = z.toJSONSchema(commands[name].parameters, { io: "input" });
  return Object.entries(properties).map(([property, schema]) => {
    const { enum: choices, default: preset } = propertySchema.parse(schema);
    const option = new Option(`--${property} <${choices ? "name" : "number"}>`).default(preset);
    return choices ? option.choices(choices) : option.argParser(countValue);
  });
}

function same<R>(result: R): R {
  return result;
}
