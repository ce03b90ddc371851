import { presets } from "../../compute/model/presets.ts";
import { countText, creditsText, durationText, lossText } from "../formats.ts";
import type { DemoResult } from "../output-schemas.ts";
import type { RunOptions } from "../run-options.ts";
import type { LocalNetwork } from "./local-network.ts";
import { pace, type RunRecord } from "./run-record.ts";

export function demoResult(
  record: RunRecord,
  options: RunOptions,
  network: LocalNetwork,
  stateFolder: string,
): DemoResult {
  const { run, epochs, evaluations } = record;
  const { seconds, tokensPerSecond } = pace(record);
  const last = evaluations.at(-1);
  return {
    runId: run.runId,
    preset: run.preset,
    mode: run.mode,
    seed: options.seed ?? presets[options.preset].training.seed,
    stages: run.stages.length,
    replicas: options.replicas,
    tokens: run.tokens,
    seconds,
    tokensPerSecond,
    trainLossNats: epochs.at(-1)?.trainLossNats ?? null,
    firstValidationLossNats: evaluations[0]?.validationLossNats ?? null,
    validationLossNats: last?.validationLossNats ?? null,
    validationTokens: last?.validationTokens ?? 0,
    epochs: epochs.length,
    microbatchesLost: run.microbatchesLost,
    credits: Object.values(run.credits).reduce((sum, credits) => sum + credits, 0),
    checkpoint: run.checkpoint,
    processes: network.processes.map(({ role, name, pid }) => ({ role, name, pid })),
    restarts: network.restarts,
    stateFolder,
  };
}

export function demoText(result: DemoResult): string {
  const { tokens, seconds, tokensPerSecond, epochs, firstValidationLossNats, validationLossNats, credits } = result;
  return [
    `Trained ${countText(tokens)} tokens in ${epochs} epochs (${durationText(seconds)}, ${countText(tokensPerSecond)} tokens/s)`,
    `on ${result.processes.length} processes: ${result.stages} stages × ${result.replicas} replicas.`,
    `Validation loss ${lossText(firstValidationLossNats)} → ${lossText(validationLossNats)} nats per token. ${creditsText(credits)} credits.`,
  ].join("\n");
}
