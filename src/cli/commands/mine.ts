import { type Command, Option } from "commander";
import type { RunningDaemon } from "../../miner/daemon.ts";
import type { DaemonOptions } from "../../miner/daemon-parts.ts";
import type { KeyStoreChoice } from "../../miner/key-store/key-store.ts";
import { loadSettings, type SettingSources } from "../../miner/store/settings.ts";
import { stateFolderPath } from "../../miner/store/state-folder.ts";
import { type DeviceChoice, deviceChoiceSchema } from "../../protocol/device-report.ts";
import type { ProcessView } from "../../protocol/machine-view.ts";
import { untilStopped } from "../lifetime.ts";
import {
  type CommonOptions,
  type ConnectionOptions,
  countValue,
  keyStoreOption,
  networkUrlValue,
  portValue,
  withCommonOptions,
  withConnectionOptions,
} from "../option-types.ts";
import type { Output } from "../output.ts";
import { parentMessageSchema, tellParent } from "../process-messages.ts";
import { findUiFolder } from "../ui-folder.ts";

const backends = deviceChoiceSchema.shape.backend.options;
const precisions = deviceChoiceSchema.shape.precision.unwrap().options;

interface MineOptions extends CommonOptions, ConnectionOptions {
  readonly network?: string;
  readonly name?: string;
  readonly threads?: number;
  readonly maximumStages?: number;
  readonly apiPort?: number;
  readonly backend?: DeviceChoice["backend"];
  readonly precision?: DeviceChoice["precision"];
  readonly direct?: "on" | "off";
  readonly keyStore?: KeyStoreChoice;
  readonly supervised?: boolean;
}

/** `tah mine`: the daemon in the foreground, the same that works behind the window. */
export function addMineCommand(program: Command, output: Output): void {
  const command = program.command("mine").description("Train here for a network, without a window, until stopped.");
  withConnectionOptions(withCommonOptions(command))
    .option("--network <url>", "the network's address, ws://HOST:PORT", networkUrlValue)
    .option("--name <name>", "what people call this machine")
    .option("--threads <number>", "processor threads to train with", countValue)
    .option("--maximum-stages <number>", "stages to train at once, if memory holds them", countValue)
    .option("--api-port <port>", "of the local API; 0: any free one", portValue)
    .addOption(new Option("--backend <name>", "what computes; by default what tah bench chooses").choices(backends))
    .addOption(new Option("--precision <name>", "of products; f32 unless chosen by tah bench").choices(precisions))
    .addOption(
      new Option(
        "--direct <choice>",
        "reach other miners directly where the network lets them; on unless told",
      ).choices(["on", "off"]),
    )
    .addOption(keyStoreOption())
    .addOption(new Option("--supervised").hideHelp())
    .action(async (options: MineOptions) => {
      // Loaded here, so that commands to a running daemon need not wait for it.
      const [{ startDaemon }, { createMiner }] = await Promise.all([
        import("../../miner/daemon.ts"),
        import("../../miner/create-miner.ts"),
      ]);
      const daemon = await startDaemon({ ...daemonOptions(options, output), createMiner });
      reportWorkers(daemon);
      if (!options.supervised) output.note("tah open shows the dashboard; Ctrl-C ends the training here.");
      const stopped = await Promise.race([
        untilStopped(),
        daemon.closed.then(() => "a client asked the daemon to stop"),
      ]);
      await daemon.close();
      output.result({ stopped }, () => `Ended: ${stopped}.`);
    });
}

function daemonOptions(options: MineOptions, output: Output): Omit<DaemonOptions, "createMiner"> {
  const stateFolder = options.state ?? stateFolderPath();
  const { network: networkUrl, name, threads, maximumStages, apiPort, keyStore } = options;
  const { maxUploadMbps, maxDownloadMbps, onMetered, direct } = options;
  const machine = { name, threads, maximumStages, apiPort, keyStore };
  const flags: SettingSources["flags"] = { networkUrl, ...machine, maxUploadMbps, maxDownloadMbps, onMetered, direct };
  const uiFolder = findUiFolder();
  return {
    stateFolder,
    ...toldDevice(options),
    settings: loadSettings(stateFolder, flags, (text) => output.note(text)),
    echo: (line) => output.note(line),
    ...(uiFolder !== undefined && { uiFolder }),
    ...(options.supervised && { processes: listenForProcesses() }),
  };
}

/** Whoever names one of the two knows what the machine shall do: nothing is probed then. */
function toldDevice({ backend, precision }: MineOptions): Pick<DaemonOptions, "device"> {
  if (backend === undefined && precision === undefined) return {};
  return { device: { backend: backend ?? "native", precision: precision ?? "f32", adapter: null } };
}

/** Where a supervisor started this process, it knows all the others of the local network. */
function listenForProcesses(): () => readonly ProcessView[] {
  let processes: readonly ProcessView[] = [];
  process.on("message", (message) => {
    const parsed = parentMessageSchema.safeParse(message);
    if (parsed.success) processes = parsed.data.processes;
  });
  process.channel?.unref();
  return () => processes;
}

function reportWorkers({ api }: RunningDaemon): void {
  api.subscribe((event) => {
    const machine = event.event === "snapshot" ? event.state.machine : event.set.machine;
    if (machine === undefined) return;
    const { name, workers } = machine;
    const processes = workers.map((pid): ProcessView => ({ role: "compute-worker", name, pid, alive: true }));
    tellParent({ type: "children", processes });
  });
}
