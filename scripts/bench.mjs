/** `npm run bench -- NAME [FLAGS]`: runs `test/bench/NAME.ts` after making the clone ready; without a name it lists them. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { runScript } from "./setup/run-script.mjs";

const usageError = 2;

void runScript(async () => {
  const { runForeground } = await import("./setup/child.mjs");
  const { ensureReady } = await import("./setup/ensure-ready.mjs");
  const { root } = await import("./setup/folders.mjs");
  const folder = join(root, "test", "bench");
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
