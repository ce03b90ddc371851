import { useAppState } from "../../state/store.ts";
import { strings } from "../../strings/strings.ts";

/** With the byte tokenizer a token is a byte, and the loss can be compared with any other byte model's. */
export function useLossUnit(): string {
  return useAppState(({ run }) => (run ? strings.units.nats(run.tokenizer.startsWith("byte")) : ""));
}
