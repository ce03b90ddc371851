/** `npm run lab -- NAME [FLAGS]`: runs `test/lab/NAME/main.ts`, a network to try things in; without a name it lists them. */
import { join } from "node:path";
import { runScript } from "./setup/run-script.mjs";

void runScript(async () => {
  const { root } = await import("./setup/folders.mjs");
  const { runProgram } = await import("./setup/run-program.mjs");
  const folder = join(root, "test", "lab");
  const fileOf = (/** @type {string} */ name) => join(folder, name, "main.ts");
  return runProgram({ folder, command: "lab", pattern: /^([a-z-]+)$/, fileOf }, process.argv.slice(2));
});
