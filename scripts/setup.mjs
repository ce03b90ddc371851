/** `npm run setup [-- --shell]`: makes the clone ready without starting anything; `--shell` builds the Electron shell as well. */
import { ensureReady } from "./setup/ensure-ready.mjs";
import { runScript } from "./setup/failure.mjs";

await runScript(async () => {
  const node = await ensureReady({ shell: process.argv.includes("--shell") });
  process.stderr.write(`Ready; runs on ${node}\n`);
  return 0;
});
