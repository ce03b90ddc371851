/**
 * An orchestrator with its store and blobs in FOLDER, driven by a fake swarm as fast as it goes, until it is killed. What it writes
 * to standard output has been made known to others by then, and must never be lost (`acknowledgement.ts`).
 */
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { streamKey, uniform } from "../../../src/compute/random.ts";
import { creditTransfer } from "../../../src/network/ledger/ledger.ts";
import { FakeSwarm, fakeDefinition } from "../../../src/network/orchestrator/core/fake-swarm.ts";
import { Orchestrator } from "../../../src/network/orchestrator/orchestrator.ts";
import { EmbeddedStore } from "../../../src/network/store/embedded-store.ts";
import { importIdentity } from "../../../src/protocol/identity.ts";
import type { EpochRef } from "../../../src/protocol/ids.ts";
import { FileBlobStore } from "../../../src/transport/blobs/file-blob-store.ts";
import { type Acknowledgement, blobFolder, databaseFile, keyFile, notePrefix } from "./acknowledgement.ts";

/** Large enough to take several writes. */
const uploadBytes = 300_000;
const snapshotInterval = 40;

const [folder = "", seed = "0", notesBefore = "0"] = process.argv.slice(2);
const key = streamKey(Number(seed), "orchestrator");
const identity = importIdentity(readFileSync(join(folder, keyFile), "utf8"));
const definition = fakeDefinition();
const blobs = await FileBlobStore.open({ folder: join(folder, blobFolder), maxBlobBytes: 1 << 20 });
const store = await EmbeddedStore.open(join(folder, databaseFile));
// The swarm's time runs faster than a clock; it goes on where the last life ended.
let nowMs = Math.max(Date.now(), (await store.loadRun(definition.runId))?.lastEventAtMs ?? 0);
const orchestrator = await Orchestrator.open({
  store,
  identity,
  networkId: identity.minerId,
  definition,
  clock: () => nowMs,
  log: () => undefined,
  onFailed(error) {
    throw error;
  },
  snapshotInterval,
});
orchestrator.listen({
  receipt: ({ receipt }) => acknowledge({ receipt: creditTransfer(receipt).reference }),
  changed(_, effects) {
    for (const effect of effects)
      if (effect.type === "checkpoint-recorded") acknowledge({ checkpoint: effect.checkpoint.epoch });
  },
});

const swarm = new FakeSwarm(definition);
swarm.state = orchestrator.state;
swarm.nowMs = nowMs;
swarm.join(1, 2, 3, 4, 5, 6);
let notes = Number(notesBefore);
for (let draws = 0; ; ) {
  swarm.finishEpoch();
  swarm.finishUpload();
  for (const { atMs, ...event } of swarm.events.splice(0)) {
    if (event.type === "message" && event.message.type === "stored") await upload(event.message.at);
    nowMs = atMs;
    orchestrator.submit(event);
    // Sometimes one tick takes several events, sometimes one.
    if (uniform(key, 0, draws++) < 0.5) continue;
    orchestrator.submit({ type: "noted", level: "info", text: `${notePrefix}${++notes}` });
    await orchestrator.settled();
    acknowledge({ note: notes });
  }
  await orchestrator.settled();
}

/** What the fake miners' messages refer to, and something larger. */
async function upload({ epoch, attempt }: EpochRef): Promise<void> {
  const merged = Array.from({ length: definition.stages }, (_, stage) => `merged ${stage} ${epoch} ${attempt}`);
  for (const text of ["optimizer", ...merged]) await put(Buffer.from(text));
  await put(Buffer.alloc(uploadBytes, `${epoch} ${attempt} ${seed}`));
}

async function put(bytes: Uint8Array): Promise<void> {
  acknowledge({ blob: (await blobs.put(bytes)).hash });
}

function acknowledge(what: Acknowledgement): void {
  writeSync(process.stdout.fd, `${JSON.stringify(what)}\n`);
}
