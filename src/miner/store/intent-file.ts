/** What the person last asked for, so that it outlives restarts, crashes and updates. */
import { join } from "node:path";
import { z } from "zod";
import { readFileIfPresent, writeFileAtomically } from "../../disk/atomic-file.ts";
import { type MachineView, machineViewSchema } from "../../protocol/machine-view.ts";
import { parseJson } from "../json.ts";

type Intent = MachineView["intent"];

const fileSchema = z.object({ intent: machineViewSchema.shape.intent });

/** The stored intent, or `initial` when there is none; a file that makes no sense counts as none, and `onLost` hears of it. */
export function loadIntent(folder: string, initial: Intent, onLost: (text: string) => void): Intent {
  const file = pathIn(folder);
  const text = readFileIfPresent(file);
  if (text === null) return initial;
  const stored = fileSchema.safeParse(parseJson(text));
  if (stored.success) return stored.data.intent;
  onLost(`${file} makes no sense; going on with "${initial}"`);
  return initial;
}

/** Throws `FailureError` disk-full, file-unreadable. */
export function storeIntent(folder: string, intent: Intent): void {
  writeFileAtomically(pathIn(folder), `${JSON.stringify({ intent })}\n`);
}

function pathIn(folder: string): string {
  return join(folder, "intent.json");
}
