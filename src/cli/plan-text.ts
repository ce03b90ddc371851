/** How a run would be compressed and what that costs, in words: for `tah run plan`, and for who has just created one. */
import { assertNever } from "../protocol/assert-never.ts";
import type { Plan, PlanCost } from "../protocol/plan-view.ts";
import type { VectorCodec } from "../protocol/run-config.ts";
import { countText } from "./formats.ts";

const bitsPerByte = 8;

export function planText({ compression, bottleneckRank, link, ...plan }: Plan): string {
  const { boundary, exchange, merge } = compression;
  const squeezed = bottleneckRank === null ? "all channels" : `a bottleneck of ${bottleneckRank} channels`;
  const lag = exchange?.lag === 1 ? ", one step late" : "";
  const up = megabits(link.upBytesPerSecond);
  const down = megabits(link.downBytesPerSecond);
  const microbatch = plan.sequencesPerMicrobatch === 1 ? "1 sequence" : `${plan.sequencesPerMicrobatch} sequences`;
  return [
    `For links of ${up} up, ${down} down and ${Math.round(link.roundTripMs)} ms:`,
    `  boundaries   ${squeezed}, ${boundary.forward} forward, ${boundary.backward} backward`,
    `  exchange     ${exchange === null ? "none between merges" : `${codecText(exchange.codec)} at every step${lag}`}`,
    `  merge        ${codecText(merge)}, every ${plan.stepsPerEpoch} steps`,
    `  step         ${plan.microbatchesPerStep} microbatches of ${microbatch} from each source: ${countText(plan.tokensPerStep)} tokens in all`,
    `  under way    ${plan.microbatchesInFlight} microbatches`,
    `A replica could train ${countText(Math.round(plan.tokensPerSecond))} tokens/s; ${percent(plan.efficiency)} of the time it does, the rest it waits.`,
    `The loss is expected to be ${plan.lossGapPercent.toFixed(1)} % higher for it: ${jointText(plan.measured)}.`,
    "",
    "part         bytes/token  bytes/epoch   up    down  waits    loss  measured",
    ...plan.costs.map(costText),
  ].join("\n");
}

function costText({ part, bytesPerToken, bytesPerEpoch, ...cost }: PlanCost) {
  const cells = [
    part.padEnd(12),
    bytesPerToken.toFixed(1).padStart(11),
    String(bytesPerEpoch).padStart(12),
    percent(cost.uplinkShare).padStart(5),
    percent(cost.downlinkShare).padStart(6),
    percent(cost.waitShare).padStart(6),
    signed(cost.lossGapPercent).padStart(7),
  ];
  return `${cells.join(" ")}  ${cost.measured ?? "not measured: an estimate"}`;
}

function jointText(measured: string | null): string {
  if (measured === null) return "what its parts cost, added up, since nobody has measured them together";
  return `what is rounded was measured together (${measured})`;
}

function codecText(codec: VectorCodec): string {
  switch (codec.kind) {
    case "f32":
      return "f32";
    case "dense":
      return `${codec.bits} ${codec.bits === 1 ? "bit" : "bits"} per parameter`;
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
