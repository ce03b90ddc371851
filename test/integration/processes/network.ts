/** A network as a process of its own: `network.ts OPTIONS`, with JSON options. Tells its parent where it listens. */

import type { NetworkOptions } from "../../../src/network/serve.ts";
import { serveNetwork } from "../../../src/network/serve.ts";
import type { BlobRef } from "../../../src/protocol/ids.ts";

export type NetworkProcessOptions = Omit<NetworkOptions, "log" | "onRunUpdate" | "onFailed">;

export interface NetworkProcessMessage {
  readonly url: string;
  readonly manifest: BlobRef;
}

const options = JSON.parse(process.argv[2] ?? "") as NetworkProcessOptions;
const network = await serveNetwork({ ...options, log: () => {} });
const [first] = network.states.values();
if (first === undefined) throw new Error("a test's network has a run");
process.send?.({
  url: network.url,
  manifest: first.definition.dataset.manifest,
} satisfies NetworkProcessMessage);
// A network must not outlive its test.
process.once("disconnect", () => process.exit(0));
