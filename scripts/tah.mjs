#!/usr/bin/env node
/** `npm run tah -- …`: the command line. */
import { runScript } from "./setup/run-script.mjs";

void runScript(async () => {
  const { runTah } = await import("./setup/tah.mjs");
  return runTah(process.argv.slice(2));
});
