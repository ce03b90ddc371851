/**
 * `npm test [-- FILES OR VITEST FLAGS]`: makes the clone ready, runs the tests and ends with the line
 * `N passed, N failed, N skipped`, which CI tools count. Skipped tests say why in their names.
 */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runScript } from "./setup/run-script.mjs";

void runScript(async () => {
  const { electronShell, packagedDaemon, userInterface } = await import("./setup/bundles.mjs");
  const { runForeground } = await import("./setup/child.mjs");
  const { ensureReady } = await import("./setup/ensure-ready.mjs");
  const { root, stampFolder } = await import("./setup/folders.mjs");
  const resultFile = join(stampFolder, "test-results.json");
  const node = await ensureReady({ bundles: [userInterface, electronShell, packagedDaemon] });
  rmSync(resultFile, { force: true });
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${resultFile}`];
  const code = await runForeground(node, [vitest, "run", ...reporters, ...process.argv.slice(2)]);
  const { passed, failed, skipped } = countResults(resultFile, code);
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  return code === 0 && failed > 0 ? 1 : code;
});

/** @typedef {{ status: string, assertionResults: { status: string }[] }} FileResult */

/**
 * A file that could not be loaded has no tests, and counts as one failure; so does a run that failed for any other reason.
 * @param {string} resultFile
 * @param {number} code Vitest's exit code
 */
function countResults(resultFile, code) {
  /** @type {FileResult[]} */
  const files = existsSync(resultFile) ? JSON.parse(readFileSync(resultFile, "utf8")).testResults : [];
  const tests = files.flatMap((file) => file.assertionResults);
  const passed = tests.filter(({ status }) => status === "passed").length;
  const failedTests = tests.filter(({ status }) => status === "failed").length;
  const failedFiles = files.filter(
    (file) => file.status === "failed" && file.assertionResults.every(({ status }) => status !== "failed"),
  ).length;
  const failed = failedTests + failedFiles;
  return { passed, failed: failed === 0 && code !== 0 ? 1 : failed, skipped: tests.length - passed - failedTests };
}
