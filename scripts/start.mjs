/** `npm start`: makes the clone ready, trains on a local network of this computer and opens the app. */
import { runScript } from "./setup/run-script.mjs";

void runScript(async () => {
  const { runTah } = await import("./setup/tah.mjs");
  return runTah(["demo", "--open", ...process.argv.slice(2)]);
});
