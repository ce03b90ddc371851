import type { RunSummary } from "../../../protocol/run-view.ts";
import { askForProcesses, useAnswer } from "../../components/answer.ts";
import { CommandButton } from "../../components/command-button.tsx";
import { useApi } from "../../state/store.ts";
import { strings } from "../../strings/strings.ts";

/** Whether the network is this computer's own: its orchestrator is one of the processes here. */
export function useOwnsNetwork(): boolean {
  const processes = useAnswer(askForProcesses);
  return processes.kind === "answered" && processes.value.some(({ role }) => role === "orchestrator");
}

interface RunSteeringProps {
  readonly run: Pick<RunSummary, "runId" | "phase">;
  readonly texts: { readonly pause: string; readonly resume: string };
}

/** Pauses a run for everyone. A run that has ended has nothing to pause. */
export function RunSteering({ run, texts }: RunSteeringProps) {
  const api = useApi();
  if (run.phase === "finished") return null;
  const command = run.phase === "paused" ? "resume-run" : "pause-run";
  return (
    <CommandButton
      className="button small"
      onPress={() => api.call(command, { runId: run.runId })}
      busy={strings.asking}
    >
      {command === "resume-run" ? texts.resume : texts.pause}
    </CommandButton>
  );
}
