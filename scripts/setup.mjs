/** `npm run setup [-- --packaging]`: makes the clone ready without starting anything; `--packaging`: for electron-builder as well. */
import { electronShell, packagedDaemon, userInterface } from "./setup/bundles.mjs";
import { ensureReady } from "./setup/ensure-ready.mjs";
import { runScript } from "./setup/failure.mjs";

await runScript(async () => {
  const forPackaging = process.argv.includes("--packaging") ? [packagedDaemon] : [];
  const node = await ensureReady({ bundles: [userInterface, electronShell, ...forPackaging] });
  process.stderr.write(`Ready; runs on ${node}\n`);
  return 0;
});
