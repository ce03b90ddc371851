/** A disk that is really full: a small file system in memory, which only root may make. */
import { execFileSync } from "node:child_process";
import { rmSync, statfsSync } from "node:fs";
import { appendFile, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStateDatabase } from "../../src/miner/store/state-database.ts";
import { auditNetwork } from "../../src/network/audit/audit.ts";
import { FakeSwarm, fakeDefinition, fakeStartMs } from "../../src/network/orchestrator/core/fake-swarm.ts";
import { Orchestrator } from "../../src/network/orchestrator/orchestrator.ts";
import { EmbeddedStore } from "../../src/network/store/embedded-store.ts";
import { failureOf } from "../../src/protocol/failure.ts";
import { createIdentity } from "../../src/protocol/identity.ts";
import { FileBlobStore } from "../../src/transport/blobs/file-blob-store.ts";

const diskBytes = 16 << 20;
const disk = await mkdtemp(join(tmpdir(), "small-disk-"));
const missing = mountSmallDisk();

afterAll(async () => {
  if (missing === null) execFileSync("umount", [disk]);
  await rm(disk, { recursive: true });
});

/** Null, or why it cannot be. */
function mountSmallDisk(): string | null {
  if (process.platform !== "linux") return "only tried on Linux";
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${diskBytes}`, "tmpfs", disk], { stdio: "ignore" });
    return null;
  } catch {
    return "only root may mount a small disk";
  }
}

describe.skipIf(missing !== null)(`a full disk${missing === null ? "" : ` (skipped: ${missing})`}`, () => {
  const ballast = join(disk, "ballast");
  const fill = async (leaveBytes = 0) => {
    const { bavail, bsize } = statfsSync(disk);
    await appendFile(ballast, Buffer.alloc(Math.max(0, bavail * bsize - leaveBytes)));
  };
  const clear = () => rmSync(ballast, { force: true });
  beforeEach(clear);
  afterEach(async () => {
    for (const name of await readdir(disk)) await rm(join(disk, name), { recursive: true });
  });

  it.each([
    ["events", 1_000_000],
    ["events and snapshots", 5],
  ])(
    "makes the run stand still while %s are written, and loses nothing that was acknowledged",
    async (_, snapshotInterval) => {
      const identity = createIdentity();
      let nowMs = fakeStartMs;
      const swarm = new FakeSwarm();
      const logged: string[] = [];
      const store = await EmbeddedStore.open(join(disk, "network.sqlite"));
      const orchestrator = await Orchestrator.open({
        store,
        identity,
        networkId: identity.minerId,
        definition: fakeDefinition(),
        clock: () => nowMs,
        log: (text) => logged.push(text),
        onFailed: (error) => expect.fail(String(error)),
        snapshotInterval,
        diskFullPauseMs: 1,
      });
      const acknowledged: number[] = [];
      let stood = 0;
      orchestrator.listen({
        receipt: ({ receipt }) => acknowledged.push(receipt.microCredits),
        stoodStill() {
          stood += 1;
          if (stood % 3 === 0) clear();
        },
      });
      swarm.join(1, 2, 3, 4, 5, 6);
      for (let epoch = 0; epoch < 4; epoch++) {
        swarm.finishEpoch();
        swarm.finishUpload();
      }
      for (const [index, { atMs, ...event }] of swarm.events.entries()) {
        // Sometimes nothing fits any more, sometimes half a commit does.
        if (index % 10 === 5) await fill((index % 3) * 8192);
        nowMs = atMs;
        orchestrator.submit(event);
        await orchestrator.settled();
      }
      expect(stood).toBeGreaterThan(3);
      expect(orchestrator.state).toEqual(swarm.state);
      await orchestrator.close();
      await store.close();
      const report = await auditNetwork(disk);
      expect(report.findings.filter(({ part }) => part !== "blobs")).toEqual([]);
      expect(report).toMatchObject({
        receipts: acknowledged.length,
        runs: [{ epoch: 4, tokens: swarm.state.tokens }],
      });
    },
  );

  it("refuses a blob for lack of space, leaves nothing of it, and takes it when there is space again", async () => {
    const folder = join(disk, "blobs");
    const blobs = await FileBlobStore.open({ folder, maxBlobBytes: diskBytes });
    const kept = await blobs.put(Buffer.alloc(10_000, 1));
    await fill(100_000);
    const large = Buffer.alloc(300_000, 2);
    expect(await blobs.put(large).catch(failureOf)).toMatchObject({ code: "disk-full" });
    expect(await readdir(folder)).toEqual([kept.hash]);
    clear();
    const ref = await blobs.put(large);
    expect((await blobs.get(ref.hash)).length).toBe(300_000);
    expect((await blobs.get(kept.hash)).length).toBe(10_000);
  });

  it("is said at the start, by whoever cannot begin there", async () => {
    await fill();
    expect(() => openStateDatabase(disk)).toThrow(
      expect.objectContaining({ failure: expect.objectContaining({ code: "disk-full" }) }),
    );
    expect(await EmbeddedStore.open(join(disk, "network.sqlite")).catch(failureOf)).toMatchObject({
      code: "disk-full",
    });
  });
});
