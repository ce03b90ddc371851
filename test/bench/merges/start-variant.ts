/** Trains a variant in a process of its own, which ends when this one does. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { computeProcess } from "../../../src/compute/compute-process.ts";
import { type Outcome, outcomeSchema, type Variant } from "./schedule.ts";

const program = fileURLToPath(new URL("variant-process.ts", import.meta.url));

const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill();
});

/** Rejects when the process ends without an outcome; what it said is on standard error. */
export async function startVariant(variant: Variant): Promise<Outcome> {
  const { execArgv, environment } = computeProcess; // as the compute worker is started
  const child = fork(program, [JSON.stringify(variant)], {
    execArgv: [...execArgv],
    env: { ...environment, ...process.env },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  running.add(child);
  let outcome: unknown = null;
  child.once("message", (message) => {
    outcome = message;
  });
  const [code] = await once(child, "exit");
  running.delete(child);
  if (outcome === null) throw new Error(`a variant's process ended with ${code}: ${JSON.stringify(variant)}`);
  return outcomeSchema.parse(outcome);
}
