import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { failureOf } from "../../protocol/failure.ts";
import { createIdentity } from "../../protocol/identity.ts";
import { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import { auditNetwork } from "../audit/audit.ts";
import { FakeSwarm, fakeDefinition, fakeHash } from "../orchestrator/core/fake-swarm.ts";
import { Orchestrator } from "../orchestrator/orchestrator.ts";
import { EmbeddedStore } from "../store/embedded-store.ts";
import { fallBackIfDamaged } from "./fall-back.ts";

describe("a network whose disk lost a checkpoint", () => {
  const identity = createIdentity();
  let folder: string;
  let store: EmbeddedStore;
  let orchestrator: Orchestrator;
  let swarm: FakeSwarm;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "fall-back-"));
    swarm = new FakeSwarm();
    await open();
  });
  afterEach(async () => {
    await orchestrator.close();
    await store.close();
    await rm(folder, { recursive: true });
  });

  async function open(): Promise<void> {
    store = await EmbeddedStore.open(join(folder, "network.sqlite"));
    orchestrator = await Orchestrator.open({
      store,
      identity,
      networkId: identity.minerId,
      definition: fakeDefinition(),
      clock: () => swarm.nowMs,
      log: () => undefined,
      onFailed: (error) => expect.fail(String(error)),
    });
  }

  /** Trains so many epochs, ends, damages what `texts` name, and starts again. */
  async function trainAndDamage(epochs: number, ...texts: readonly string[]): Promise<FileBlobStore> {
    await train(epochs);
    await orchestrator.close();
    await store.close();
    const blobFolder = join(folder, "blobs");
    const blobs = await FileBlobStore.open({ folder: blobFolder, maxBlobBytes: 1000 });
    for (const epoch of [0, 1, 2, 3])
      for (const stage of [0, 1, 2]) await blobs.put(Buffer.from(`merged ${stage} ${epoch} 0`));
    for (const text of ["manifest", "optimizer"]) await blobs.put(Buffer.from(text));
    for (const text of texts) await writeFile(join(blobFolder, fakeHash(text)), "damaged");
    await open();
    return FileBlobStore.open({ folder: blobFolder, maxBlobBytes: 1000 });
  }

  async function train(epochs: number): Promise<void> {
    const { nowMs } = swarm;
    swarm = new FakeSwarm();
    swarm.nowMs = nowMs;
    swarm.state = orchestrator.state;
    swarm.join(1, 2, 3, 4, 5, 6);
    for (let epoch = 0; epoch < epochs; epoch++) {
      swarm.finishEpoch();
      swarm.finishUpload();
    }
    for (const { atMs: _, ...event } of swarm.events) orchestrator.submit(event);
    await orchestrator.settled();
  }

  it("goes on from it where it is unharmed", async () => {
    const blobs = await trainAndDamage(3, "merged 1 0 0");
    const { checkpoint } = orchestrator.state;
    await fallBackIfDamaged(orchestrator, blobs);
    expect(orchestrator.state.checkpoint).toBe(checkpoint);
  });

  it("goes on from the one before, says so, keeps all credits, and credits the epoch that follows as well", async () => {
    const blobs = await trainAndDamage(3, "merged 1 2 0");
    const before = orchestrator.state;
    await fallBackIfDamaged(orchestrator, blobs);
    const { state } = orchestrator;
    expect(state.checkpoint).toMatchObject(before.previousCheckpoint ?? {});
    expect(state.tokens).toBe(before.previousCheckpoint?.tokens);
    expect(state.credits).toEqual(before.credits);
    expect(state.log.at(-1)).toMatchObject({ level: "error", text: expect.stringContaining("checkpoint is damaged") });
    await train(1);
    expect(orchestrator.state).toMatchObject({ epoch: 4, tokens: before.tokens });
    expect(await store.receipts()).toHaveLength(6 * 4);
    await store.close();
    const { findings } = await auditNetwork(folder);
    expect(findings.filter(({ part }) => part !== "blobs")).toEqual([]);
  });

  it("does not begin where no checkpoint is left", async () => {
    const blobs = await trainAndDamage(3, "merged 1 2 0", "merged 0 1 0");
    expect(await fallBackIfDamaged(orchestrator, blobs).catch(failureOf)).toMatchObject({ code: "state-corrupt" });
  });
});
