import type { RunView } from "../../../protocol/run-view.ts";
import { askForProcesses, useAnswer } from "../../components/answer.ts";
import { CommandButton } from "../../components/command-button.tsx";
import { useApi } from "../../state/store.ts";
import { strings } from "../../strings/strings.ts";

/** Pauses the run for everyone, where the network is this computer's own: its orchestrator is one of the processes here. */
export function RunSteering({ run }: { run: RunView }) {
  const api = useApi();
  const processes = useAnswer(askForProcesses);
  const own = processes.kind === "answered" && processes.value.some(({ role }) => role === "orchestrator");
  if (!own || run.phase === "finished") return null;
  const command = run.phase === "paused" ? "resume-run" : "pause-run";
  const texts = strings.run;
  return (
    <CommandButton
      className="button small"
      onPress={() => api.call(command, { runId: run.runId })}
      busy={strings.asking}
    >
      {command === "resume-run" ? texts.resumeForAll : texts.pauseForAll}
    </CommandButton>
  );
}
