#!/usr/bin/env node
/** `npm run tah -- …`: the command line. */
import { userInterface } from "./setup/bundles.mjs";
import { runScript } from "./setup/failure.mjs";
import { runTah } from "./setup/tah.mjs";

/** Commands that show the dashboard to a browser. */
const servesDashboard = new Set(["demo", "mine"]);

await runScript(() => {
  const args = process.argv.slice(2);
  return runTah(args, servesDashboard.has(args[0] ?? "") ? [userInterface] : []);
});
