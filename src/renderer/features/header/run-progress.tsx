import { useAppState } from "../../state/store.ts";
import { format, strings } from "../../strings/strings.ts";
import { epochFraction } from "../network/network-view.ts";

/** The run's name and how far its epoch is: training → uploading → merging. */
export function RunProgress() {
  const run = useAppState((state) => state.run);
  const telemetry = useAppState((state) => state.telemetry);
  if (!run)
    return (
      <div className="run-progress">
        <p className="run-name">{strings.run.none}</p>
      </div>
    );
  const fraction = epochFraction(run, telemetry);
  const epoch = format.count(run.epoch);
  return (
    <div className="run-progress" data-phase={run.phase}>
      <p className="run-name">{run.name}</p>
      <p className="run-phase">
        <strong>{strings.phase[run.phase]}</strong>
        <span>{strings.run.epoch(epoch)}</span>
        <span className="run-percent">{format.percent(fraction)}</span>
        {run.reason && <span className="run-reason">{run.reason}</span>}
      </p>
      <progress className="progress" aria-label={strings.run.epochProgress(epoch)} max={1} value={fraction} />
    </div>
  );
}
