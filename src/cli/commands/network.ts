import { type Command, Option } from "commander";
import { z } from "zod";
import type { AdmissionPolicy } from "../../network/admission/admission.ts";
import type { AuditReport } from "../../network/audit/audit.ts";
import { defaultRetention } from "../../network/checkpoints/retention.ts";
import { defaultAddressLimits } from "../../network/gateway/address-limits.ts";
import type { TlsFiles } from "../../network/gateway/tls-files.ts";
import type { RunningNetwork } from "../../network/serve.ts";
import { maximumWorkBits } from "../../protocol/admission.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { NetworkHealth } from "../../protocol/network-health.ts";
import { lanAddresses } from "../demo/lan-addresses.ts";
import { bootstrapOptions, type DirectOptions, isLoopbackHost, withDirectOptions } from "../direct-options.ts";
import { countText } from "../formats.ts";
import { untilStopped } from "../lifetime.ts";
import { networkFolder } from "../network-folders.ts";
import {
  type CommonOptions,
  countValue,
  minerIdValue,
  networkUrlValue,
  portValue,
  valueParser,
  wholeNumber,
  withCommonOptions,
} from "../option-types.ts";
import type { Output } from "../output.ts";
import { tellParent } from "../process-messages.ts";
import { askedRun, defaultNetworkPort, type OptionalRunOptions, presetOption, withRunOptions } from "../run-options.ts";
import { addAdmissionCommands } from "./admission.ts";

const bytesPerGigabyte = 1e9;
const workBitsValue = valueParser(wholeNumber.pipe(z.int().min(1).max(maximumWorkBits)));

interface ServeOptions extends CommonOptions, OptionalRunOptions, DirectOptions {
  readonly host: string;
  readonly port: number;
  readonly owner: readonly MinerId[];
  readonly keepCheckpoints: number;
  readonly checkpointBudget: number;
  readonly admission: AdmissionPolicy["kind"];
  readonly workBits: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly behindProxy?: boolean;
  readonly connectionsPerAddress: number;
}

/**
 * `tah network serve`: the orchestrator of a network, in the foreground. `tah network status`: how one is. `tah network audit`: looks over
 * what a stopped one left.
 */
export function addNetworkCommands(program: Command, output: Output): void {
  const network = program.command("network").description("Own a network that miners train for.");
  addStatusCommand(network, output);
  addAuditCommand(network, output);
  addAdmissionCommands(network, output);
  const serve = network
    .command("serve")
    .description("Serve a network and the runs of its state folder until stopped; with --preset create the first run.");
  withDirectOptions(withRunOptions(withCommonOptions(serve), presetOption()))
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
    .addOption(
      new Option("--admission <how>", "whom to let in")
        .choices(["open", "invitation", "proof-of-work"])
        .default("open"),
    )
    .option("--work-bits <number>", "for --admission proof-of-work; each doubles the work", workBitsValue, 20)
    .option("--tls-cert <file>", "certificate with its chain, PEM: serve wss:// instead of ws://")
    .option("--tls-key <file>", "its private key, PEM")
    .option("--behind-proxy", "a proxy on this computer passes connections on, with X-Forwarded-For")
    .option(
      "--connections-per-address <number>",
      "most that one address may have open",
      countValue,
      defaultAddressLimits.connectionsPerAddress,
    )
    .action(async (options: ServeOptions, command: Command) => {
      const { host, port, owner: owners, keepCheckpoints, checkpointBudget } = options;
      const { behindProxy = false, connectionsPerAddress } = options;
      const tls = tlsFiles(options);
      const run = askedRun(options, command);
      // Loaded here, so that commands to a running daemon need not wait for it.
      const { serveNetwork } = await import("../../network/serve.ts");
      const stateFolder = networkFolder(options);
      const children = new EvaluatorReport();
      const network = await serveNetwork({
        host,
        port,
        owners,
        admission: admissionPolicy(options),
        tls,
        behindProxy,
        connectionsPerAddress,
        run,
        retention: { maximum: keepCheckpoints, budgetBytes: checkpointBudget * bytesPerGigabyte },
        stateFolder,
        direct: bootstrapOptions(options, (text) => output.note(text)),
        log: (text) => output.note(text),
        onRunUpdate: () => children.update(),
      });
      children.network = network;
      const scheme = tls === null ? "ws" : "wss";
      for (const address of host === "0.0.0.0" ? lanAddresses() : [host])
        output.note(`Miners join with: tah mine --network ${scheme}://${address}:${network.port}${network.fragment}`);
      if (!isLoopbackHost(host)) for (const warning of exposureWarnings(options, tls)) output.note(warning);
      tellParent({ type: "listening", url: network.url });
      const stopped = await untilStopped();
      await network.close();
      output.result({ stopped }, () => `Ended: ${stopped}.`);
    });
}

function addStatusCommand(network: Command, output: Output): void {
  withCommonOptions(network.command("status"))
    .description("What a network is doing, and what it has refused since it began.")
    .option("--network <url>", "its address", networkUrlValue, `ws://127.0.0.1:${defaultNetworkPort}`)
    .action(async ({ network: address }: CommonOptions & { readonly network: string }) => {
      const { askHealth } = await import("../../miner/session/network-health.ts");
      output.result<NetworkHealth>(await askHealth(address), healthText);
    });
}

function healthText({ networkId, runs, connections, refusals }: NetworkHealth): string {
  const refused = Object.entries(refusals).sort(([, a], [, b]) => b - a);
  return [
    `network ${networkId}`,
    ...runs.map(({ runId, phase }) => `run ${runId}: ${phase}`),
    `${countText(connections)} connections`,
    refused.length === 0 ? "nothing refused since it began" : "refused since it began:",
    ...refused.map(([code, count]) => `${countText(count).padStart(10)}  ${code}`),
  ].join("\n");
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

function admissionPolicy({ admission, workBits }: ServeOptions): AdmissionPolicy {
  return admission === "proof-of-work" ? { kind: admission, bits: workBits } : { kind: admission };
}

/** What an owner may not have thought of who lets others than this computer in. */
function exposureWarnings({ admission }: ServeOptions, tls: TlsFiles | null): readonly string[] {
  const warnings: string[] = [];
  if (tls === null)
    warnings.push("Nothing is encrypted: without --tls-cert and --tls-key keep to a network that you trust.");
  if (admission === "open") warnings.push("Whoever reaches this port can join: --admission says how to choose.");
  return warnings;
}

/** Throws `FailureError` (invalid-option) when there is one without the other. */
function tlsFiles({ tlsCert: certificate, tlsKey: key }: ServeOptions): TlsFiles | null {
  if (certificate === undefined && key === undefined) return null;
  if (certificate !== undefined && key !== undefined) return { certificate, key };
  throw new FailureError("invalid-option", "A certificate is of use only with its private key.", {
    action: "Give both --tls-cert and --tls-key, or neither.",
  });
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
