/** `npm run setup [-- --packaging]`: makes the clone ready without starting anything; `--packaging`: for electron-builder as well. */
import { runScript } from "./setup/run-script.mjs";

void runScript(async () => {
  const { electronShell, packagedDaemon, userInterface } = await import("./setup/bundles.mjs");
  const { ensureReady } = await import("./setup/ensure-ready.mjs");
  const forPackaging = process.argv.includes("--packaging") ? [packagedDaemon] : [];
  const node = await ensureReady({ bundles: [userInterface, electronShell, ...forPackaging] });
  process.stderr.write(`Ready; runs on ${node}\n`);
  return 0;
});
