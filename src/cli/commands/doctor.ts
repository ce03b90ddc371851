/** `tah doctor`: whether this machine can train, and what its line to the network can do. */
import type { Command } from "commander";
import { openKeyStores } from "../../miner/key-store/open-key-stores.ts";
import { probeMetered } from "../../miner/probe/metered.ts";
import { loadMachineSettings, type MachineSettings } from "../../miner/store/settings.ts";
import { stateFolderPath } from "../../miner/store/state-folder.ts";
import { failureOf } from "../../protocol/failure.ts";
import type { LineView } from "../../protocol/line-view.ts";
import { type CommandResult, commands } from "../../protocol/local-api.ts";
import type { AppState, ConnectionRules } from "../../protocol/machine-view.ts";
import { cancelledWhenStopped } from "../lifetime.ts";
import { outlookOf } from "../line-outlook.ts";
import { lineText } from "../line-text.ts";
import { type CommonOptions, networkUrlValue, withCommonOptions } from "../option-types.ts";
import type { Output } from "../output.ts";
import type { DoctorResult } from "../output-schemas.ts";
import { withDaemon } from "../with-daemon.ts";

interface DoctorOptions extends CommonOptions {
  readonly network?: string;
  /** Undefined: unless the connection is metered. */
  readonly rates?: boolean;
}

type Examined = CommandResult<"doctor">;

/** What the daemon says; null: none works here. */
interface Daemon {
  readonly report: Examined;
  readonly state: AppState;
}

const bytesPerMegabit = 125_000;
/** Of a cap, that a measurement gets even where training uses all of it. */
const leastOfCap = 0.1;

export function addDoctorCommand(program: Command, output: Output): void {
  withCommonOptions(program.command("doctor").description(`${commands.doctor.summary} Measures the line to it.`))
    .option("--network <url>", "measure the line to this network instead", networkUrlValue)
    .option("--rates", "measure what can be sent and received also where the connection is metered")
    .option("--no-rates", "leave that out: it moves up to 70 MB")
    .action(async (options: DoctorOptions) => {
      const stateFolder = options.state ?? stateFolderPath();
      const settings = loadMachineSettings(stateFolder, {}, (text) => output.note(text));
      output.progress("examining this machine …");
      const daemon = await askDaemon(options.state);
      const report = daemon?.report ?? (await examine(stateFolder, settings));
      const rules = daemon?.state.machine.connection ?? settings;
      // From here on: what is examined before ends with the process.
      const signal = cancelledWhenStopped("Nothing measured");
      const line = await measure(options, { daemon, settings, rules, signal, output });
      const result: DoctorResult = {
        ...report,
        ok: report.ok && line?.way !== "blocked",
        line,
        outlook: line === null ? [] : outlookOf(line),
        besideTraining: daemon?.state.machine.state.kind === "training",
      };
      output.result(result, (shown) => doctorText(shown, rules));
    });
}

/** Null where none works: that may be why somebody asks the doctor. */
async function askDaemon(state: string | undefined): Promise<Daemon | null> {
  try {
    return await withDaemon(state, async (api) => ({
      report: await api.call("doctor", {}),
      state: (await api.call("snapshot", {})).state,
    }));
  } catch (error) {
    if (failureOf(error)?.code !== "unreachable") throw error;
    return null;
  }
}

/** In this process, and without the network: the line is measured anyway. */
async function examine(stateFolder: string, settings: MachineSettings): Promise<Examined> {
  const { runDoctor } = await import("../../miner/doctor.ts");
  const { threads, memoryLimitBytes } = settings;
  const keyStores = openKeyStores(settings.keyStore);
  const offline = { networkUrl: null, work: null, connection: null };
  return runDoctor({ stateFolder, keyStores, ...offline, threads, memoryLimitBytes });
}

async function measure(
  { network: named, rates }: DoctorOptions,
  known: {
    readonly daemon: Daemon | null;
    readonly settings: MachineSettings;
    readonly rules: ConnectionRules;
    readonly signal: AbortSignal;
    readonly output: Output;
  },
): Promise<LineView | null> {
  const { daemon, settings, rules, signal, output } = known;
  const network = named ?? daemon?.report.network ?? settings.networkUrl;
  if (network === undefined || network === null) return null;
  const metered = daemon === null ? await probeMetered(network) : daemon.state.machine.metered;
  const isSpared = metered === true && rules.onMetered === "pause" && rates === undefined;
  const { measureLine } = await import("../../miner/line/measure-line.ts");
  const traffic = daemon?.state.traffic;
  return measureLine({
    network,
    limits: {
      upload: leftOf(rules.maxUploadMbps, traffic?.sentBytesPerSecond),
      download: leftOf(rules.maxDownloadMbps, traffic?.receivedBytesPerSecond),
    },
    withoutRates: rates === false ? "not-asked" : isSpared ? "metered" : null,
    direct: settings.direct === "on",
    onProgress: (text) => output.progress(text),
    signal,
  });
}

/** Of a cap, bytes per second, beside what passes already. */
function leftOf(capMbps: number | null, usedBytesPerSecond = 0): number | null {
  if (capMbps === null) return null;
  const cap = capMbps * bytesPerMegabit;
  return Math.max(leastOfCap * cap, cap - usedBytesPerSecond);
}

function doctorText({ ok, checks, memory, line, outlook, besideTraining }: DoctorResult, rules: ConnectionRules) {
  const lines = checks.map((check) => {
    const action = check.action && `\n    → ${check.action}`;
    return `${check.ok ? "ok  " : "FAIL"} ${check.name}: ${check.detail}${action}`;
  });
  const lineLines =
    line === null
      ? ["No network is named, so no line was measured: tah doctor --network ws://HOST:PORT."]
      : [lineText({ line, outlook, rules, besideTraining })];
  const verdict = ok ? "Everything is in order." : "Something needs attention.";
  return [...lines, ...memoryLines(memory), ...lineLines, verdict].join("\n");
}

function memoryLines(memory: CommandResult<"doctor">["memory"]): string[] {
  const { stage, stages, microbatchesInFlight, activationsPerMicrobatchBytes, recompute } = memory;
  const kept = recompute ? "their blocks' inputs, the rest is computed again" : "all activations";
  const parts: readonly (readonly [string, number])[] = [
    ["weights", memory.weightsBytes],
    ["gradients", memory.gradientsBytes],
    ["optimizer", memory.optimizerBytes],
    ["error feedback", memory.errorFeedbackBytes],
    ["exchange of steps", memory.exchangeBytes],
    ["working space", memory.scratchBytes],
    [`${microbatchesInFlight} microbatches in flight (${kept})`, microbatchesInFlight * activationsPerMicrobatchBytes],
    ["programs", memory.programsBytes],
    ["together", memory.neededBytes],
    ["limit", memory.limitBytes],
  ];
  const lines = parts.map(([name, bytes]) => `    ${`${Math.ceil(bytes / 2 ** 20)} MiB`.padStart(10)}  ${name}`);
  return [`Memory plan of stage ${stage + 1} of ${stages}:`, ...lines];
}
