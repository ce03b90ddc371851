/** The network between the ends: a run in which nobody trains, so that frames pass between those who have a place. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serveNetwork } from "../../../src/network/serve.ts";
import { expectLargeBuffers } from "../../../src/protocol/large-buffers.ts";

expectLargeBuffers();
const [host = "127.0.0.1"] = process.argv.slice(2);
const stateFolder = await mkdtemp(join(tmpdir(), "bench-transport-"));
const network = await serveNetwork({
  host,
  port: 0,
  stateFolder,
  run: { preset: "tiny", stages: 1, replicas: 2 },
  direct: { listenHost: host, publicHost: host, firstPort: 0 },
  evaluator: null,
  log: () => {},
});
process.send?.({ id: 0, result: network.url });
process.on("message", ({ id }: { readonly id: number }) => {
  const { user, system } = process.cpuUsage();
  process.send?.({ id, result: (user + system) / 1e6 });
});
process.once("disconnect", async () => {
  await network.close();
  await rm(stateFolder, { recursive: true });
  process.exit(0);
});
