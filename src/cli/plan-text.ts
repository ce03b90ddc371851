/** `tah run plan`: how a run would be compressed, in words. */
import { assertNever } from "../protocol/assert-never.ts";
import type { Plan, PlanCost } from "../protocol/plan-view.ts";
import type { VectorCodec } from "../protocol/run-config.ts";

const bitsPerByte = 8;

export function planText({ compression, bottleneckRank, link, ...plan }: Plan): string {
  const { boundary, exchange, merge } = compression;
  const squeezed = bottleneckRank === null ? "all channels" : `a bottleneck of ${bottleneckRank} channels`;
  const lag = exchange?.lag === 1 ? ", one step late" : "";
  const up = megabits(link.upBytesPerSecond);
  const down = megabits(link.downBytesPerSecond);
  return [
    `For links of ${up} up, ${down} down and ${Math.round(link.roundTripMs)} ms:`,
    `  boundaries   ${squeezed}, ${boundary.forward} forward, ${boundary.backward} backward`,
    `  exchange     ${exchange === null ? "none between merges" : `${codecText(exchange.codec)} at every step${lag}`}`,
    `  merge        ${codecText(merge)}, every ${plan.stepsPerEpoch} steps`,
    `  under way    ${plan.microbatchesInFlight} microbatches`,
    `A replica trains ${Math.round(plan.tokensPerSecond)} tokens/s, of which its link lets it have ${percent(plan.efficiency)}; the loss is ${signed(plan.lossGapPercent)}.`,
    "",
    "part         bytes/token  bytes/epoch   up    down  loss    measured",
    ...plan.costs.map(costText),
  ].join("\n");
}

function costText({
  part,
  bytesPerToken,
  bytesPerEpoch,
  uplinkShare,
  downlinkShare,
  lossGapPercent,
  measured,
}: PlanCost) {
  const cells = [
    part.padEnd(12),
    bytesPerToken.toFixed(1).padStart(11),
    String(bytesPerEpoch).padStart(12),
    percent(uplinkShare).padStart(5),
    percent(downlinkShare).padStart(5),
    signed(lossGapPercent).padStart(6),
  ];
  return `${cells.join(" ")}  ${measured ?? "not measured: an estimate"}`;
}

function codecText(codec: VectorCodec): string {
  switch (codec.kind) {
    case "f32":
      return "f32";
    case "dense":
      return `${codec.bits} bits per parameter`;
    case "top-k":
      return `the largest ${percent(codec.share)}`;
    default:
      return assertNever(codec);
  }
}

function megabits(bytesPerSecond: number): string {
  return `${Number(((bitsPerByte * bytesPerSecond) / 1e6).toPrecision(3))} Mbit/s`;
}

function percent(share: number): string {
  return `${Math.round(100 * share)} %`;
}

function signed(lossGapPercent: number): string {
  return `+${lossGapPercent.toFixed(1)} %`;
}
