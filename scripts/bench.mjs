/** `npm run bench -- NAME [FLAGS]`: runs `test/bench/NAME.ts` after making the clone ready; without a name it lists them. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { runForeground } from "./setup/child.mjs";
import { ensureReady } from "./setup/ensure-ready.mjs";
import { runScript } from "./setup/failure.mjs";
import { root } from "./setup/folders.mjs";

const folder = join(root, "test", "bench");
const usageError = 2;

await runScript(async () => {
  const [name = "", ...args] = process.argv.slice(2);
  const names = existsSync(folder)
    ? readdirSync(folder).flatMap((file) => /^([a-z-]+)\.ts$/.exec(file)?.[1] ?? [])
    : [];
  if (!names.includes(name)) {
    process.stderr.write(
      `usage: npm run bench -- NAME [--json] [FLAGS]\nbenchmarks: ${names.sort().join(", ") || "none yet"}\n`,
    );
    return usageError;
  }
  const node = await ensureReady({ bundles: [] });
  return runForeground(node, [join(folder, `${name}.ts`), ...args]);
});
