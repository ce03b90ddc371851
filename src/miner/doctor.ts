/** Checks whether this machine can train, and says for each thing that is wrong what to do about it. */
import { statfs } from "node:fs/promises";
import { totalmem } from "node:os";
import type { CommandResult } from "../protocol/local-api.ts";

type Report = CommandResult<"doctor">;
type Check = Report["checks"][number];

export async function runDoctor(options: { stateFolder: string; networkUrl: string | null }): Promise<Report> {
  const checks: Check[] = [];
  return { ok: checks.every(({ ok }) => ok), checks };
}
