import type { RunSummary } from "../../../protocol/run-view.ts";
import { Panel } from "../../components/panel.tsx";
import { useAppState } from "../../state/store.ts";
import { format, strings } from "../../strings/strings.ts";
import { RunSteering, useOwnsNetwork } from "../run/run-steering.tsx";

/** All runs of the network, where there are several; the one in work is what the rest of the board shows. */
export function RunsPanel() {
  const runs = useAppState((state) => state.runs);
  const shown = useAppState((state) => state.run?.runId);
  const owned = useOwnsNetwork();
  if (runs.length < 2) return null;
  return (
    <Panel title={strings.runs.title} className="runs">
      <ul className="run-list">
        {runs.map((run) => (
          <RunRow key={run.runId} run={run} isShown={run.runId === shown} owned={owned} />
        ))}
      </ul>
    </Panel>
  );
}

interface RunRowProps {
  readonly run: RunSummary;
  readonly isShown: boolean;
  readonly owned: boolean;
}

function RunRow({ run, isShown, owned }: RunRowProps) {
  const texts = strings.runs;
  const { runId, phase, reason, miners, weight, tokens, validationLossNats } = run;
  const loss = validationLossNats === null ? strings.unknown : format.loss(validationLossNats);
  return (
    <li className="run-row" aria-current={isShown || undefined} data-phase={phase}>
      <p className="run-row-head">
        <strong>{isShown ? texts.isShown(runId) : runId}</strong>
        <span title={reason || undefined}>{strings.phase[phase]}</span>
      </p>
      <p className="run-row-figures">
        {texts.figures(miners, format.count(miners), format.count(weight), format.short(tokens), loss)}
      </p>
      {owned && <RunSteering run={run} texts={{ pause: texts.pause(runId), resume: texts.resume(runId) }} />}
    </li>
  );
}
