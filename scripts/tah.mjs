#!/usr/bin/env node
/** `npm run tah -- …`: the command line. */
import { runScript } from "./setup/failure.mjs";
import { runTah } from "./setup/tah.mjs";

await runScript(() => runTah(process.argv.slice(2)));
