import { CommandButton } from "../../components/command-button.tsx";
import { useApi, useAppState } from "../../state/store.ts";
import { strings } from "../../strings/strings.ts";

/** Start or Pause: what the person asks of this machine. The daemon remembers it. */
export function IntentButton() {
  const api = useApi();
  const intent = useAppState(({ machine }) => machine.intent);
  const command = intent === "run" ? "pause" : "start";
  const texts = strings.intent;
  return (
    <CommandButton
      className={command === "start" ? "button primary" : "button"}
      onPress={() => api.call(command, {})}
      busy={command === "start" ? texts.starting : texts.pausing}
    >
      {texts[command]}
    </CommandButton>
  );
}
