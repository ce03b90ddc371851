/** `npm run bench -- NAME [FLAGS]`: runs `test/bench/NAME.ts` after making the clone ready; without a name it lists them. */
import { join } from "node:path";
import { runScript } from "./setup/run-script.mjs";

void runScript(async () => {
  const { root } = await import("./setup/folders.mjs");
  const { runProgram } = await import("./setup/run-program.mjs");
  const folder = join(root, "test", "bench");
  const fileOf = (/** @type {string} */ name) => join(folder, `${name}.ts`);
  return runProgram({ folder, command: "bench", pattern: /^([a-z-]+)\.ts$/, fileOf }, process.argv.slice(2));
});
