import { useAppState, useDashboard } from "../../state/store.ts";
import { strings } from "../../strings/strings.ts";
import { stagesTitle } from "../network/network-view.ts";
import { IntentButton } from "./intent-button.tsx";
import { Mark } from "./mark.tsx";
import { RunProgress } from "./run-progress.tsx";
import { ThemeButton } from "./theme-button.tsx";

export function Header() {
  return (
    <header className="header">
      <div className="brand">
        <Mark />
        <h1>{strings.app}</h1>
      </div>
      <RunProgress />
      <MachineState />
      <div className="header-controls">
        <IntentButton />
        <ThemeButton />
      </div>
    </header>
  );
}

/** What this machine does, and in one line why: the same words as in the tray and the CLI. */
function MachineState() {
  const state = useAppState(({ machine }) => machine.state);
  const stages = useAppState(({ run }) => run?.stages.length ?? 0);
  const connected = useDashboard(({ connection }) => connection.kind === "open");
  const stage =
    "stages" in state
      ? stagesTitle(state.stages, Math.max(stages, ...state.stages.map((index) => index + 1))).toLocaleLowerCase(
          strings.locale,
        )
      : "";
  // Its turns of training and merging come every few seconds: a screen reader speaks only of what stops it.
  const atWork = "stages" in state;
  const title = strings.machineState[state.kind](stage);
  return (
    <div className="machine-state" data-kind={connected ? state.kind : "unknown"} role={atWork ? undefined : "status"}>
      <span className="machine-state-light" aria-hidden="true" />
      <div>
        <p className="machine-state-title">{title}</p>
        {state.reason !== `${title}.` && <p className="machine-state-reason">{state.reason}</p>}
      </div>
    </div>
  );
}
