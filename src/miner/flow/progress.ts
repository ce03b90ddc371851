/** Telemetry of a training replica, twice a second while there is something new to say. */
import type { ClientMessage } from "../../protocol/client-messages.ts";
import type { Clock } from "../session/clock.ts";
import type { Activity } from "./activity.ts";
import { holdsLastStage, type Place } from "./place.ts";
import type { Training } from "./training.ts";

const intervalMs = 500;

export interface ProgressOptions {
  readonly place: Place;
  readonly training: Training;
  readonly activity: Activity;
  readonly memoryBytes: number;
  readonly clock: Clock;
  readonly send: (message: ClientMessage) => void;
  readonly signal: AbortSignal;
}

/** Reports until `signal` is aborted, and once more then: the last counts are the ones that stay. */
export function reportProgress(options: ProgressOptions): void {
  const { place, training, activity, memoryBytes, clock, send, signal } = options;
  let reported = "";
  const report = () => {
    const { lossSumNats, ...counts } = training.tally;
    const news = JSON.stringify(counts);
    if (news === reported) return;
    reported = news;
    send({
      type: "progress",
      at: place.at,
      ...counts,
      tokensPerSecond: activity.tokensPerSecond(clock.nowMs()),
      memoryBytes,
      lossSumNats: holdsLastStage(place) ? lossSumNats : null,
    });
  };
  let cancel = () => {};
  const again = () => {
    report();
    cancel = clock.after(intervalMs, again);
  };
  cancel = clock.after(intervalMs, again);
  signal.addEventListener(
    "abort",
    () => {
      cancel();
      report();
    },
    { once: true },
  );
}
