import { countText, durationText, lossText } from "../formats.ts";
import { pace, type RunRecord } from "./run-record.ts";

/** `epoch 12 · training · 98,304 of 400,000 tokens · 2,310 tok/s · loss 2.104 · validation 2.188 · 2 min 11 s left` */
export function progressLine(record: RunRecord, telemetry: { trainLossNats: number | null } | null): string {
  const { run, epochs, evaluations } = record;
  const { tokensPerSecond } = pace(record);
  const target = run.targetTokens === null ? "" : ` of ${countText(run.targetTokens)}`;
  const remaining =
    run.targetTokens === null || tokensPerSecond === 0 ? undefined : (run.targetTokens - run.tokens) / tokensPerSecond;
  const parts = [
    `epoch ${run.epoch}`,
    run.reason ? `${run.phase} (${run.reason})` : run.phase,
    `${countText(run.tokens)}${target} tokens`,
    tokensPerSecond > 0 && `${countText(tokensPerSecond)} tok/s`,
    `loss ${lossText(telemetry?.trainLossNats ?? epochs.at(-1)?.trainLossNats)}`,
    `validation ${lossText(evaluations.at(-1)?.validationLossNats)}`,
    remaining !== undefined && remaining > 0 && `${durationText(remaining)} left`,
  ];
  return parts.filter(Boolean).join(" · ");
}
