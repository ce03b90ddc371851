/** A measured line in words: what it can do, what that means, and what would make it better. */
import { assertNever } from "../protocol/assert-never.ts";
import { failureText } from "../protocol/failure.ts";
import type { LineView } from "../protocol/line-view.ts";
import type { ConnectionRules } from "../protocol/machine-view.ts";
import { bytesText, countText, durationText } from "./formats.ts";
import type { LineOutlook } from "./line-outlook.ts";

/** Below, a replica waits for its line more than it trains. */
const worthwhile = 0.5;
/** Beyond, it is heard in training, and hardly ever a cable. */
const unsteadyMs = 20;
const farMs = 200;
/** Of a cap: as near as a measurement comes to it. */
const atCap = 0.9;
const slowCheckpointSeconds = 600;

export interface LineSituation {
  readonly line: LineView;
  readonly outlook: readonly LineOutlook[];
  readonly rules: ConnectionRules;
  /** Whether this machine trained meanwhile. */
  readonly besideTraining: boolean;
}

export function lineText(situation: LineSituation): string {
  const { line, besideTraining } = situation;
  const title = `Line to ${line.network}: ${line.way}.`;
  if (line.failure !== null) return `${title}\n    ${failureText(line.failure)}`;
  const beside = besideTraining ? ["This machine trained meanwhile: the rates are what that left of the line."] : [];
  return [
    title,
    ...[roundTripText(line), ratesText(line), udpText(line), ...beside].map((text) => `    ${text}`),
    ...outlookTexts(situation),
    ...adviceOf(situation).map((text) => `    → ${text}`),
  ].join("\n");
}

function roundTripText({ roundTripMs, jitterMs }: LineView): string {
  if (roundTripMs === null || jitterMs === null) return "round trip: not measured, answers took too long";
  return `round trip ${roundTripMs.toFixed(1)} ms, from one to the next ${jitterMs.toFixed(1)} ms apart`;
}

function ratesText({ upBytesPerSecond, downBytesPerSecond, withoutRates, movedBytes }: LineView): string {
  switch (withoutRates) {
    case "not-asked":
      return "rates: not measured, as asked";
    case "metered":
      return "rates: not measured, the connection is metered; --rates measures them all the same";
    case "refused":
      return "rates: not measured, the network or a proxy before it takes no more of that now; try again in a few minutes";
    case "too-slow":
      return `up ${megabits(upBytesPerSecond)}, down ${megabits(downBytesPerSecond)}: too slow to be measured`;
    case null:
      return `up ${megabits(upBytesPerSecond)}, down ${megabits(downBytesPerSecond)} (${bytesText(movedBytes)} moved)`;
    default:
      return assertNever(withoutRates);
  }
}

function udpText({ udp }: LineView): string {
  switch (udp) {
    case "consistent":
      return "direct connections: the router lets other miners in that this one speaks with; no port has to be opened";
    case "changing":
      return "direct connections: with few others, since the router takes another port towards everyone (symmetric NAT)";
    case "blocked":
      return "direct connections: none, UDP does not get through; everything goes through the network's gateway";
    case "not-offered":
      return "direct connections: the network has none; everything goes through its gateway";
    case "switched-off":
      return "direct connections: switched off here; everything goes through the network's gateway";
    case "not-measured":
      return "direct connections: none, their program parts do not load here";
    default:
      return assertNever(udp);
  }
}

function outlookTexts({ outlook }: LineSituation): readonly string[] {
  if (outlook.length === 0) return [];
  const rows = outlook.map(({ preset, stages, tokensPerSecond, efficiency, lossGapPercent, ...rest }) => {
    const speed = `${countText(efficiency * tokensPerSecond)} of ${countText(tokensPerSecond)} tokens/s`;
    const loss = `loss ${lossGapPercent.toFixed(1)} % higher`;
    const share = `${Math.round(100 * rest.lineShare)} % of the line`;
    const model = `${preset} in ${stages} stages`.padEnd(18);
    const checkpoint = `checkpoint ${durationText(rest.checkpointSeconds)}`;
    return `    ${model} ${speed.padStart(24)}  ${loss.padStart(18)}  ${share.padStart(17)}  ${checkpoint}`;
  });
  const carried = outlook.filter(({ efficiency }) => efficiency >= worthwhile).map(({ preset }) => preset);
  const verdict =
    carried.length === 0
      ? "For none of the models is this line fast enough to train most of the time."
      : `Fast enough to train most of the time: ${carried.join(", ")}.`;
  return ["What a replica on an ordinary laptop would train behind it, with --compression auto:", ...rows, verdict];
}

function adviceOf({ line, outlook, rules }: LineSituation): readonly string[] {
  const { roundTripMs, jitterMs, upBytesPerSecond, downBytesPerSecond } = line;
  const isUnsteady = roundTripMs !== null && jitterMs !== null && jitterMs > Math.max(unsteadyMs, roundTripMs / 2);
  const isSlowToStore = outlook.some(
    ({ efficiency, checkpointSeconds }) => efficiency >= worthwhile && checkpointSeconds > slowCheckpointSeconds,
  );
  const isCapped = (bytesPerSecond: number | null, cap: number | null) =>
    bytesPerSecond !== null && cap !== null && (bytesPerSecond * 8) / 1e6 >= atCap * cap;
  return [
    isCapped(upBytesPerSecond, rules.maxUploadMbps) ? "Up is as fast as its cap: tah limit --max-upload-mbps." : null,
    isCapped(downBytesPerSecond, rules.maxDownloadMbps)
      ? "Down is as fast as its cap: tah limit --max-download-mbps."
      : null,
    isUnsteady
      ? "Round trips vary much, as over Wi-Fi, or while this computer is busy: a cable makes them steadier."
      : null,
    roundTripMs !== null && roundTripMs > farMs
      ? "The network is far away: more microbatches are kept under way to hide that, which takes memory."
      : null,
    isSlowToStore ? "Checkpoints are uploaded beside the training, and the larger ones take long on this line." : null,
    line.udp === "blocked"
      ? "Let outgoing UDP through, if a firewall of yours drops it; no port has to be opened."
      : null,
    line.udp === "changing"
      ? "Mobile and shared addresses are like that; a router of your own may have a setting for it (full cone NAT)."
      : null,
    line.udp === "switched-off" ? "Switch them on with tah mine --direct on." : null,
    line.udp === "not-offered" ? "Its owner may serve it with --direct on." : null,
  ].filter((text) => text !== null);
}

function megabits(bytesPerSecond: number | null): string {
  return bytesPerSecond === null ? "?" : `${((bytesPerSecond * 8) / 1e6).toFixed(1)} Mbit/s`;
}
