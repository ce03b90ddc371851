import { useState } from "react";
import { Button } from "react-aria-components/Button";
import { failureOf } from "../../../protocol/failure.ts";
import { useApi, useAppState, useDashboard } from "../../state/store.ts";
import { strings } from "../../strings/strings.ts";

/** Start or Pause: what the person asks of this machine. The daemon remembers it. */
export function IntentButton() {
  const api = useApi();
  const intent = useAppState(({ machine }) => machine.intent);
  const connected = useDashboard(({ connection }) => connection.kind === "open");
  const [asked, setAsked] = useState<"start" | "pause" | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const command = intent === "run" ? "pause" : "start";

  const ask = async () => {
    setAsked(command);
    setProblem(null);
    try {
      await api.call(command, {});
    } catch (error) {
      // Over the Electron bridge an error keeps its message only.
      setProblem(failureOf(error)?.message ?? (error instanceof Error ? error.message : String(error)));
    } finally {
      setAsked(null);
    }
  };

  const texts = strings.intent;
  return (
    <>
      <Button
        className={command === "start" ? "button primary" : "button"}
        onPress={ask}
        isDisabled={!connected || asked !== null}
      >
        {asked === "start" ? texts.starting : asked === "pause" ? texts.pausing : texts[command]}
      </Button>
      {problem !== null && (
        <p className="problem" role="alert">
          {texts.failed(problem)}
        </p>
      )}
    </>
  );
}
