/** What a benchmark says of one swarm. */
import type { Sample } from "../../../src/compute/data/samples.ts";
import { rounded } from "../shared/report.ts";
import type { BenchSwarm, Course } from "./bench-swarm.ts";
import { type CentralisedCourse, validateCheckpoints } from "./centralised.ts";
import {
  compare,
  lineFigures,
  processorFigures,
  relayedFrames,
  shownFrames,
  tokensPerSecond,
  trafficFigures,
  type Validated,
} from "./figures.ts";

export async function resultOf(
  { definition, keptFolder, isDirect }: BenchSwarm,
  course: Course,
  centralised: CentralisedCourse,
  { sample, threads }: { readonly sample: Sample; readonly threads: number },
) {
  const losses = await validateCheckpoints(definition, course.checkpoints, sample, { keptFolder, threads });
  const paces = course.epochs.map(({ tokens, atMs }) => ({ tokens, seconds: (atMs - course.training.atMs) / 1000 }));
  const curve: Validated[] = [...losses].flatMap(([{ tokens }, validationLossNats]) => {
    const pace = paces.find((one) => one.tokens === tokens);
    return pace === undefined ? [] : [{ ...pace, validationLossNats }];
  });
  const { secondsToLoss, efficiency, lossGapPercent, timeToLossRatio, lossNats } = compare(
    centralised.curve,
    curve,
    paces,
  );
  const frames = isDirect ? shownFrames(course) : relayedFrames(course);
  const { activationCompression, mergeCompression, ...traffic } = trafficFigures(definition, frames);
  return {
    swarm: {
      tokensPerSecond: rounded(tokensPerSecond(paces), 1),
      validationLossNats: curve.at(-1)?.validationLossNats,
      startSeconds: rounded((course.training.atMs - course.startedAtMs) / 1000, 1),
      firstEpochSeconds: rounded(paces[0]?.seconds ?? Number.NaN, 1),
      microbatchesLost: course.microbatchesLost,
      ...traffic,
      lines: lineFigures(course),
      processor: processorFigures(course),
      curve,
    },
    secondsToLoss: { lossNats, ...secondsToLoss },
    efficiency: rounded(efficiency, 3),
    lossGapPercent: rounded(lossGapPercent, 2),
    timeToLossRatio: timeToLossRatio && rounded(timeToLossRatio, 3),
    activationCompression,
    mergeCompression,
  };
}
