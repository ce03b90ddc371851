/** A network as a process of its own: `network.ts OPTIONS`, with JSON options. Tells its parent where it listens. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { presets } from "../../../src/compute/model/presets.ts";
import { Gateway } from "../../../src/network/gateway/gateway.ts";
import { defaultTimeouts } from "../../../src/network/orchestrator/core/definition.ts";
import { monotonicClock, Orchestrator } from "../../../src/network/orchestrator/orchestrator.ts";
import { EmbeddedStore } from "../../../src/network/store/embedded-store.ts";
import { createIdentity, importIdentity } from "../../../src/protocol/identity.ts";
import { runIdSchema } from "../../../src/protocol/ids.ts";
import type { TrainingConfig } from "../../../src/protocol/run-config.ts";
import { FileBlobStore } from "../../../src/transport/blobs/file-blob-store.ts";
import { squaresDataset } from "./dataset.ts";

export interface NetworkProcessOptions {
  readonly stateFolder: string;
  readonly port: number;
  readonly training: Partial<TrainingConfig>;
  readonly stages: number;
  readonly replicas: number;
  readonly targetTokens: number;
}
const options = JSON.parse(process.argv[2] ?? "") as NetworkProcessOptions;
await mkdir(options.stateFolder, { recursive: true });
const log = (text: string) => console.error(`network: ${text}`);
const store = await EmbeddedStore.open(join(options.stateFolder, "network.sqlite"));
const blobs = await FileBlobStore.open({ folder: join(options.stateFolder, "blobs"), maxBlobBytes: 1 << 28 });
const { manifest, files } = squaresDataset();
for (const file of files.values()) await blobs.put(file);
const manifestRef = await blobs.put(new TextEncoder().encode(JSON.stringify(manifest)));
const clock = monotonicClock();
const pem = await store.fact("pem");
const identity = pem === undefined ? createIdentity() : importIdentity(pem);
await store.setFact("pem", identity.exportPrivateKeyPem());
const orchestrator = await Orchestrator.open({
  store,
  identity,
  networkId: "test",
  clock,
  log,
  onFailed: (e) => {
    throw e;
  },
  definition: {
    runId: runIdSchema.parse("test"),
    name: "test",
    preset: "tiny",
    model: presets.tiny.model,
    training: { ...presets.tiny.training, ...options.training },
    tokenizer: "bytes",
    dataset: { manifest: manifestRef },
    stages: options.stages,
    minimumReplicas: options.replicas,
    targetTokens: options.targetTokens,
    timeouts: defaultTimeouts,
  },
});
const gateway = await Gateway.listen({
  host: "127.0.0.1",
  port: options.port,
  networkId: "test",
  orchestrator,
  blobs,
  owners: new Set(),
  localSteering: true,
  clock,
  log,
});
process.send?.({ type: "listening", url: `ws://127.0.0.1:${gateway.port}` });
