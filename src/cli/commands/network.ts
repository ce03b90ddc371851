import { isIPv4 } from "node:net";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { stateFolderPath } from "../../miner/store/state-folder.ts";
import type { AuditReport } from "../../network/audit/audit.ts";
import { defaultRetention } from "../../network/checkpoints/retention.ts";
import type { NetworkOptions, RunningNetwork } from "../../network/serve.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { lanAddresses } from "../demo/lan-addresses.ts";
import { countText } from "../formats.ts";
import { untilStopped } from "../lifetime.ts";
import { servedFolderName } from "../network-folders.ts";
import {
  type CommonOptions,
  countValue,
  ipv4Value,
  minerIdValue,
  portValue,
  withCommonOptions,
} from "../option-types.ts";
import type { Output } from "../output.ts";
import { tellParent } from "../process-messages.ts";
import { askedRun, defaultNetworkPort, type OptionalRunOptions, presetOption, withRunOptions } from "../run-options.ts";

const bytesPerGigabyte = 1e9;

interface ServeOptions extends CommonOptions, OptionalRunOptions {
  readonly host: string;
  readonly port: number;
  readonly owner: readonly MinerId[];
  readonly keepCheckpoints: number;
  readonly checkpointBudget: number;
  readonly direct: "on" | "off";
  readonly directHost?: string;
  readonly directPort?: number;
}

/** `tah network serve`: the orchestrator of a network, in the foreground. `tah network audit`: looks over what a stopped one left. */
export function addNetworkCommands(program: Command, output: Output): void {
  const network = program.command("network").description("Own a network that miners train for.");
  addAuditCommand(network, output);
  const serve = network
    .command("serve")
    .description("Serve a network and the runs of its state folder until stopped; with --preset create the first run.");
  withRunOptions(withCommonOptions(serve), presetOption())
    .option("--host <address>", "interface to listen on; 0.0.0.0: all of them", "127.0.0.1")
    .option("--port <port>", "port to listen on; 0: any free one", portValue, defaultNetworkPort)
    .option("--owner <key>", "miner whose computer may create, steer and delete runs; may be repeated", ownerValues, [])
    .option("--keep-checkpoints <number>", "most checkpoints of a run to keep", countValue, defaultRetention.maximum)
    .option(
      "--checkpoint-budget <gigabytes>",
      "room for older checkpoints",
      countValue,
      defaultRetention.budgetBytes / bytesPerGigabyte,
    )
    .addOption(directOption())
    .option("--direct-host <address>", "IPv4 address at which miners reach this computer", ipv4Value)
    .option(
      "--direct-port <port>",
      "first of four UDP ports; 0: any free ones (default: those after --port, if free)",
      portValue,
    )
    .action(async (options: ServeOptions, command: Command) => {
      const { host, port, owner: owners, keepCheckpoints, checkpointBudget } = options;
      const run = askedRun(options, command);
      // Loaded here, so that commands to a running daemon need not wait for it.
      const { serveNetwork } = await import("../../network/serve.ts");
      const stateFolder = networkFolder(options);
      const children = new EvaluatorReport();
      const network = await serveNetwork({
        host,
        port,
        owners,
        run,
        retention: { maximum: keepCheckpoints, budgetBytes: checkpointBudget * bytesPerGigabyte },
        stateFolder,
        direct: directOf(options, (text) => output.note(text)),
        log: (text) => output.note(text),
        onRunUpdate: () => children.update(),
      });
      children.network = network;
      for (const address of host === "0.0.0.0" ? lanAddresses() : [host])
        output.note(`Miners join with: tah mine --network ws://${address}:${network.port}`);
      tellParent({ type: "listening", url: network.url });
      const stopped = await untilStopped();
      await network.close();
      output.result({ stopped }, () => `Ended: ${stopped}.`);
    });
}

function directOption(): Option {
  const text = "let miners reach each other directly, over UDP, and not only through this computer";
  return new Option("--direct <choice>", text).choices(["on", "off"]).default("on");
}

/** Undefined: all that miners say to each other goes through this computer. */
function directOf(options: ServeOptions, note: (text: string) => void): NetworkOptions["direct"] {
  const { host, port, direct, directHost, directPort } = options;
  if (direct === "off") return undefined;
  const publicHost = directHost ?? (host === "0.0.0.0" ? lanAddresses()[0] : host.replace("localhost", "127.0.0.1"));
  if (publicHost === undefined || !isIPv4(publicHost)) {
    note("Miners do not reach each other directly: --direct-host names no IPv4 address of this computer.");
    return undefined;
  }
  if (directPort !== undefined) return { publicHost, firstPort: directPort };
  return { publicHost, firstPort: port === 0 ? 0 : port + 1, orAnyPort: true };
}

function addAuditCommand(network: Command, output: Output): void {
  withCommonOptions(network.command("audit"))
    .description("Look over a stopped network's log, books and blobs, and change nothing.")
    .action(async (options: CommonOptions) => {
      const { auditNetwork } = await import("../../network/audit/audit.ts");
      output.result(await auditNetwork(networkFolder(options)), auditText);
    });
}

function auditText({ ok, runs, transfers, receipts, blobs, blobBytes, findings }: AuditReport): string {
  return [
    ...runs.map(({ runId, events, epoch, tokens }) => {
      const reached =
        epoch === null || tokens === null ? "state unknown" : `epoch ${epoch}, ${countText(tokens)} tokens`;
      return `run ${runId}: ${countText(events)} events, ${reached}`;
    }),
    `${countText(transfers)} transfers, ${countText(receipts)} receipts, ${countText(blobs)} blobs of ${countText(blobBytes)} bytes`,
    ...findings.map(({ part, what, action }) => `FAIL ${part}: ${what}\n    → ${action}`),
    ok ? "Everything is in order." : "Something needs attention.",
  ].join("\n");
}

function networkFolder({ state }: CommonOptions): string {
  return state ?? join(stateFolderPath(), servedFolderName);
}

function ownerValues(key: string, others: readonly MinerId[]): readonly MinerId[] {
  return [...others, minerIdValue(key)];
}

/** Tells the supervisor about the process that evaluates checkpoints: it comes with the first one, and is another one after a crash. */
class EvaluatorReport {
  network: RunningNetwork | undefined;
  #reported: number | undefined;

  update(): void {
    const pid = this.network?.evaluatorPid;
    if (pid === undefined || pid === this.#reported) return;
    this.#reported = pid;
    tellParent({ type: "children", processes: [{ role: "evaluator", name: "evaluator", pid, alive: true }] });
  }
}
