/** How numbers, machines and runs read in a terminal. */
import type { RunId } from "../protocol/ids.ts";
import type {
  AppState,
  ConnectionRules,
  MachineView,
  PeerView,
  ProcessView,
  TrafficView,
} from "../protocol/machine-view.ts";
import type { RunSummary, RunView } from "../protocol/run-view.ts";
import { stageNames } from "../protocol/stage-names.ts";

const grouped = new Intl.NumberFormat("en");
const microCreditsPerCredit = 1_000_000;

export function countText(count: number): string {
  return grouped.format(Math.round(count));
}

export function lossText(lossNats: number | null | undefined): string {
  return lossNats == null ? "–" : lossNats.toFixed(3);
}

/** 3725 → 1 h 02 min; 65 → 1 min 05 s */
export function durationText(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (hours > 0) return `${hours} h ${twoDigits(minutes)} min`;
  return minutes > 0 ? `${minutes} min ${twoDigits(rest)} s` : `${rest} s`;
}

export function creditsText(microCredits: number): string {
  return grouped.format(microCredits / microCreditsPerCredit);
}

export function machineText(machine: MachineView): string {
  const { name, state, network } = machine;
  const stage = "stages" in state ? `, ${stageNames(state.stages)}` : "";
  const reason = state.reason && `: ${state.reason}`;
  return `${name} is ${state.kind}${stage}${reason}\nnetwork ${network.url}: ${network.connected ? "connected" : network.reason}`;
}

export function runText(run: RunView): string {
  const target = run.targetTokens === null ? "" : ` of ${countText(run.targetTokens)}`;
  const reason = run.reason && ` (${run.reason})`;
  return [
    `run ${run.runId}: ${run.phase}${reason}, epoch ${run.epoch}, ${countText(run.tokens)}${target} tokens`,
    transmissionText(run),
    ...run.stages.map(
      ({ index, replicas }) =>
        `  stage ${index + 1} of ${run.stages.length}: ${replicas.map((replica) => `${replica.name} (${replica.state})`).join(", ") || "nobody"}`,
    ),
  ].join("\n");
}

/** What the run sends as it is compressed now. */
function transmissionText({ transmission, boundaryFormats, stages, alarms }: RunView): string {
  const { forwardBytesPerToken, backwardBytesPerToken, boundaryRatio } = transmission;
  const { mergeBytesPerParameter, exchangeBytesPerParameter } = transmission;
  const bytes = Math.round(forwardBytesPerToken + backwardBytesPerToken);
  const boundary = `${boundaryFormats.forward} forward, ${boundaryFormats.backward} back: ${countText(bytes)} B per token and boundary, ${boundaryRatio.toFixed(1)} times less than bf16`;
  const steps = exchangeBytesPerParameter === null ? "" : `, steps in ${exchangeBytesPerParameter.toFixed(2)}`;
  const merges = `merges in ${mergeBytesPerParameter.toFixed(2)} B per parameter${steps}`;
  const alarm = alarms.at(-1);
  const alarmed =
    alarm === undefined ? "" : `; alarm at stage ${alarm.stage + 1} in epoch ${alarm.epoch}: ${alarm.kind}`;
  return `  sends ${stages.length > 1 ? `${boundary}; ` : ""}${merges}${alarmed}`;
}

export function runsText(runs: readonly RunSummary[]): string {
  const rows = runs.map(({ runId, phase, weight, miners, tokens, validationLossNats, reason }) => [
    runId,
    phase,
    `weight ${weight}`,
    `${countText(miners)} ${miners === 1 ? "miner" : "miners"}`,
    `${countText(tokens)} tokens`,
    `validation ${lossText(validationLossNats)}`,
    reason,
  ]);
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) => row.map((text, column) => text.padEnd(widths[column] ?? 0)).join("  "));
  return lines.map((line) => line.trimEnd()).join("\n") || "no run";
}

const byteUnits = ["B", "kB", "MB", "GB", "TB", "PB"] as const;

/** 1234567 → 1.2 MB, in thousands as data plans count. */
export function bytesText(bytes: number): string {
  const power = bytes < 1000 ? 0 : Math.min(byteUnits.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${byteUnits[power]}`;
}

export function connectionText({ maxUploadMbps, maxDownloadMbps, onMetered }: ConnectionRules): string {
  const cap = (megabits: number | null) => (megabits === null ? "no limit" : `${megabits} Mbit/s at most`);
  const metered = onMetered === "pause" ? "pauses" : "goes on";
  return `up ${cap(maxUploadMbps)}, down ${cap(maxDownloadMbps)}; on a metered connection it ${metered}`;
}

/** In all, and for the run that is shown. */
function trafficText({ total, runs, link, peers }: TrafficView, runId: RunId | undefined): string {
  const text = ({ sentBytes, receivedBytes }: TrafficView["total"]) =>
    `${bytesText(sentBytes)} sent, ${bytesText(receivedBytes)} received`;
  const megabits = (bytesPerSecond: number | null) =>
    bytesPerSecond === null ? "?" : ((bytesPerSecond * 8) / 1e6).toFixed(1);
  const line = `line: ${megabits(link.upBytesPerSecond)} Mbit/s up, ${megabits(link.downBytesPerSecond)} down, ${link.roundTripMs?.toFixed(0) ?? "?"} ms`;
  const ofRun = runs.find((run) => run.runId === runId);
  const traffic = `traffic: ${text(total)}${ofRun === undefined ? "" : `; for this run ${text(ofRun)}`}`;
  return [traffic, line, ...peers.map(peerText)].join("\n");
}

function peerText({ minerId, way, sinceMs, roundTripMs, damaged }: PeerView): string {
  const roundTrip = roundTripMs === null ? "" : `, ${roundTripMs.toFixed(0)} ms`;
  const how = way === "direct" ? "direct" : "through the network's gateway";
  const since = new Date(sinceMs).toTimeString().slice(0, 8);
  const faults =
    damaged.direct + damaged.relayed === 0
      ? ""
      : `; damaged messages: ${damaged.direct} direct, ${damaged.relayed} through the gateway`;
  return `peer ${minerId.slice(0, 8)}: ${how}${roundTrip}, since ${since}${faults}`;
}

export function statusText({ machine, activity, credits, traffic, run }: AppState): string {
  const share = activity.share === null ? "" : `, ${Math.round(activity.share * 100)} % of the run`;
  return [
    machineText(machine),
    `${countText(activity.tokensPerSecond)} tokens/s${share}; ${countText(activity.tokensBackward)} tokens trained here`,
    `credits: ${creditsText(credits.pending)} pending, ${creditsText(credits.payable)} payable, ${creditsText(credits.paid)} paid`,
    trafficText(traffic, run?.runId),
    `connection: ${connectionText(machine.connection)}`,
    run === null ? "no run" : runText(run),
  ].join("\n");
}

export function processesText(processes: readonly ProcessView[]): string {
  return processes
    .map(
      ({ pid, role, name, alive }) =>
        `${String(pid).padStart(8)}  ${role.padEnd(14)}  ${name}${alive ? "" : " (ended)"}`,
    )
    .join("\n");
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}
