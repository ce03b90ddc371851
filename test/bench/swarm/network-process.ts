/**
 * A benchmark's orchestrator as a process of its own: `network-process.ts OPTIONS`, with JSON options. Checkpoints are not evaluated here:
 * that would take processor time from the miners beside it. Tells its parent what an observer is told, and which frames it has passed on.
 */
import { z } from "zod";
import type { RunDefinition } from "../../../src/network/orchestrator/core/definition.ts";
import { type NetworkOptions, serveNetwork } from "../../../src/network/serve.ts";
import { type FrameBytes, noFrameBytes } from "../../../src/protocol/frames.ts";
import type { RunUpdate } from "../../../src/protocol/run-view.ts";

export type NetworkProcessOptions = Pick<NetworkOptions, "host" | "port" | "stateFolder" | "run" | "direct">;

export type NetworkProcessMessage =
  | { readonly type: "listening"; readonly url: string; readonly definition: RunDefinition }
  | { readonly type: "update"; readonly update: RunUpdate /** Passed on so far. */; readonly frameBytes: FrameBytes };

const options: NetworkProcessOptions = JSON.parse(z.string().parse(process.argv[2]));
const frameBytes = { ...noFrameBytes };
const network = await serveNetwork({
  ...options,
  evaluator: null,
  log: (text) => process.stderr.write(`${text}\n`),
  onRunUpdate: (update) => tellParent({ type: "update", update, frameBytes }),
  onFrame: (kind, bytes) => {
    frameBytes[kind] += bytes;
  },
});
const [first] = network.states.values();
if (first === undefined) throw new Error("a benchmark's network has a run");
tellParent({ type: "listening", url: network.url, definition: first.definition });
// A network must not outlive its benchmark.
process.once("disconnect", () => process.exit(0));

function tellParent(message: NetworkProcessMessage): void {
  if (process.connected) process.send?.(message);
}
