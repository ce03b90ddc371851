/** `npm start`: makes the clone ready, trains on a local network of this computer and opens the app. */
import { electronShell, userInterface } from "./setup/bundles.mjs";
import { runScript } from "./setup/failure.mjs";
import { runTah } from "./setup/tah.mjs";

await runScript(() => runTah(["demo", "--open", ...process.argv.slice(2)], [userInterface, electronShell]));
