/**
 * `npm run sanitize`: the contract suites of the kernels and of the codec on an addon that is built with the address and undefined-behaviour sanitizers.
 * What they find ends the test's process with a report. For GCC and Clang on Linux; elsewhere it says that it does nothing.
 */
import { join } from "node:path";
import { runScript } from "./setup/run-script.mjs";

const sanitizers = "address,undefined";
const suites = ["test/contract/kernels.test.ts", "test/contract/codec.test.ts"];

void runScript(async () => {
  const { buildNative, sanitizerRuntime } = await import("./build-native.mjs");
  const { runForeground } = await import("./setup/child.mjs");
  const { ensureReady } = await import("./setup/ensure-ready.mjs");
  const { root } = await import("./setup/folders.mjs");
  if (process.platform !== "linux") {
    process.stdout.write("skipped: the sanitizers' runtime is preloaded into Node, which works on Linux only\n");
    return 0;
  }
  const node = await ensureReady({ bundles: [] });
  const addon = await buildNative({ quiet: false, sanitizers });
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  return runForeground(node, [vitest, "run", ...suites, "-t", "native"], {
    ...process.env,
    TAH_NATIVE_ADDON: addon,
    // Operands lie in buffers of exactly their size, so that the sanitizer sees the first byte too far.
    KERNEL_OPERAND_MARGIN: "0",
    // Node is not built with the sanitizer: its runtime must come first.
    LD_PRELOAD: await sanitizerRuntime(),
    // V8 keeps what it likes until the end; and tests ask for more memory than there is.
    ASAN_OPTIONS: "detect_leaks=0:allocator_may_return_null=1",
  });
});
