/** What a line means for training: how fast a replica of each model would train behind it, compressed as `--compression auto` does. */
import { z } from "zod";
import { type PresetName, presets } from "../compute/model/presets.ts";
import { planFor } from "../network/expected-plan.ts";
import type { LineView } from "../protocol/line-view.ts";

const replicas = 2;
/** `tiny` is for tests. */
const trainable: readonly PresetName[] = ["demo", "25m", "100m", "1b", "8b"];

export const lineOutlookSchema = z.object({
  preset: z.string(),
  /** That it is cut into; each is held by two replicas. */
  stages: z.int().positive(),
  /** Of a replica on an ordinary laptop, if nothing but its processor held it up. */
  tokensPerSecond: z.number().positive(),
  /** Of that, what such a line lets it have. */
  efficiency: z.number().min(0).max(1),
  /** That the loss is higher for how little is sent. */
  lossGapPercent: z.number(),
  /** The fuller direction of the line, at that speed; 1: it is full. */
  lineShare: z.number().nonnegative(),
  /** Until a replica has uploaded its stage's part of a checkpoint, where nothing else is sent. */
  checkpointSeconds: z.number().nonnegative(),
});
export type LineOutlook = Readonly<z.infer<typeof lineOutlookSchema>>;

/** For each model, the smallest first; empty where something of the line was not measured. */
export function outlookOf({ upBytesPerSecond, downBytesPerSecond, roundTripMs }: LineView): readonly LineOutlook[] {
  if (upBytesPerSecond === null || downBytesPerSecond === null || roundTripMs === null) return [];
  const link = { upBytesPerSecond, downBytesPerSecond, roundTripMs };
  return trainable.map((preset) => {
    const { tokensPerSecond, efficiency, lossGapPercent, costs } = planFor({ preset, replicas }, link);
    const share = (of: "uplinkShare" | "downlinkShare") => costs.reduce((sum, cost) => sum + cost[of], 0);
    const checkpointBytes = costs.find(({ part }) => part === "checkpoint")?.bytesPerEpoch ?? 0;
    return {
      preset,
      stages: presets[preset].stages,
      tokensPerSecond,
      efficiency,
      lossGapPercent,
      lineShare: efficiency * Math.max(share("uplinkShare"), share("downlinkShare")),
      checkpointSeconds: checkpointBytes / upBytesPerSecond,
    };
  });
}
