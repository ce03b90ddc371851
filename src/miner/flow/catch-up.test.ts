import { describe, expect, it } from "vitest";
import type { PastMerge } from "../../protocol/gateway-messages.ts";
import type { BlobHash, MinerId } from "../../protocol/ids.ts";
import { blobPartSchema, blobRequestSchema, decodeBody } from "../../protocol/merge-messages.ts";
import { manifestOf } from "../../protocol/partitions.ts";
import { mergeCodecs, noCompression } from "../../protocol/run-config.ts";
import { maxPartBytes } from "../../transport/blob-serving.ts";
import type { AddressedMessage, Fate } from "../../transport/memory-link.ts";
import { type FakeCheckpoint, type FakeMember, FakeSwarm } from "./fake-swarm.ts";

const compression = { ...noCompression, merge: mergeCodecs.dense2 };

/** One stage, whose network remembers what was merged, as the real one does. */
class LongRun {
  readonly swarm: FakeSwarm;
  readonly members: readonly [FakeMember, FakeMember, FakeMember];
  merges: readonly PastMerge[] = [];
  /** What the current epoch starts from; none: the initial weights. */
  start: FakeCheckpoint | undefined;

  constructor(width = 4, merge = compression.merge) {
    this.swarm = new FakeSwarm(1, 3, { compression: { ...compression, merge } }, { width });
    this.members = [this.swarm.member(0, 0), this.swarm.member(0, 1), this.swarm.member(0, 2)];
  }

  /** These train an epoch, and those merge it, of whom the first takes a snapshot. */
  async epoch(training: readonly FakeMember[], merging = training): Promise<void> {
    const { swarm } = this;
    await this.prepare(training);
    swarm.start([...training]);
    await swarm.trained([...training]);
    const order = await swarm.reduced(0, merging);
    await swarm.apply(0, merging, order);
    const [keeper] = merging;
    if (keeper === undefined) throw new Error("nobody merges");
    const { weightsHash: from } = await swarm.heard(keeper, "ready");
    const slices = manifestOf(order.slices.map((slice) => slice?.hash ?? null));
    this.merges = [...this.merges, { from, slices, replicas: merging.length, tokens: order.tokens }];
    const { state } = await swarm.snapshot(keeper);
    if (state === null) throw new Error("no snapshot");
    this.start = { ...state, holders: [keeper.id], merges: this.merges, mergers: merging.map(({ id }) => id) };
    swarm.at = { ...swarm.at, epoch: swarm.at.epoch + 1 };
  }

  async prepare(members: readonly FakeMember[], start = this.start): Promise<void> {
    await this.swarm.prepare([...members], start === undefined ? new Map() : new Map([[0, start]]));
  }

  calls(member: FakeMember, method: string): number {
    return this.swarm.engine(member).calls.filter((call) => call === method).length;
  }

  async expectInStep(member: FakeMember): Promise<void> {
    expect((await this.swarm.heard(member, "ready")).weightsHash).toBe(this.start?.weights.hash);
  }

  /** Miner `to` is sent parts of a blob as `fate` says; what it got of it, by offset. */
  onParts(
    to: FakeMember,
    blob: () => string | undefined,
    fate: (got: readonly number[]) => Fate = () => "deliver",
  ): readonly number[] {
    const got: number[] = [];
    this.swarm.network.fate = (message: AddressedMessage) => {
      if (message.kind !== "blob-part" || message.to !== to.id) return "deliver";
      const { hash, offset, bytes } = decodeBody(blobPartSchema, message.body);
      if (hash !== blob() || bytes === null) return "deliver";
      const decided = fate(got);
      if (decided === "deliver") got.push(offset);
      return decided;
    };
    return got;
  }
}

describe("a miner that was away for two epochs", () => {
  it("makes the current weights of its own, by the merges that it missed", async () => {
    const run = new LongRun();
    const [first, second, away] = run.members;
    await run.epoch(run.members);
    await run.prepare([away]);
    await away.places.leave("Paused.", 0);
    await run.swarm.until(() => away.blobs.kept.size > 0);
    await run.epoch([first, second]);
    await run.epoch([second, first]);
    away.places.join();
    const got = run.onParts(away, () => run.start?.weights.hash);
    await run.prepare([away]);
    await run.expectInStep(away);
    expect(got).toEqual([]);
    expect(run.calls(away, "applyMerged")).toBe(2);
    await run.epoch(run.members);
  });

  it("loads the whole when its own weights are no more, or the merges are not to be had", async () => {
    const run = new LongRun();
    const [first, second, away] = run.members;
    await run.epoch(run.members);
    await run.prepare([away]);
    await away.places.leave("Paused.", 0);
    await run.epoch([first, second]);
    const [, missed] = run.merges;
    if (missed === undefined || run.start === undefined) throw new Error("two merges");
    away.places.join();
    await run.prepare([away], { ...run.start, mergers: [] });
    await run.expectInStep(away);
    expect(run.calls(away, "load")).toBe(2);
    expect(run.calls(away, "applyMerged")).toBe(0);
  });

  it("loads the whole when the merges lead somewhere else", async () => {
    const run = new LongRun();
    const [first, second, away] = run.members;
    await run.epoch(run.members);
    await run.prepare([away]);
    await away.places.leave("Paused.", 0);
    await run.epoch([first, second]);
    const [before, missed] = run.merges;
    if (before === undefined || missed === undefined || run.start === undefined) throw new Error("two merges");
    away.places.join();
    await run.prepare([away], { ...run.start, merges: [missed, { ...missed, from: before.from }] });
    await run.expectInStep(away);
    expect(run.calls(away, "load")).toBe(2);
  });
});

describe("a replica that missed a merge", () => {
  it("takes its step in the worker, which goes on with what it has", async () => {
    const run = new LongRun();
    const [first, second, late] = run.members;
    await run.epoch(run.members);
    await run.epoch(run.members, [first, second]);
    await run.prepare([late]);
    await run.expectInStep(late);
    expect([run.calls(late, "open"), run.calls(late, "load")]).toEqual([1, 0]);
    await run.epoch(run.members);
  });

  it("asks those who merged for as much each", async () => {
    const run = new LongRun(256);
    const [first, second, late] = run.members;
    await run.epoch(run.members);
    await run.prepare([late]);
    await run.epoch([first, second]);
    const served = new Map<MinerId, Set<BlobHash>>();
    run.swarm.network.fate = ({ kind, from, to, body }) => {
      if (kind !== "blob-part" || to !== late.id) return "deliver";
      const { hash, bytes } = decodeBody(blobPartSchema, body);
      if (bytes !== null && hash !== run.merges.at(-1)?.slices)
        served.set(from, (served.get(from) ?? new Set()).add(hash));
      return "deliver";
    };
    await run.prepare([late]);
    await run.expectInStep(late);
    expect([...served.values()].map(({ size }) => size)).toEqual([1, 1]);
  });

  it("loads the whole when nobody has the slices any more", async () => {
    const run = new LongRun();
    const [first, second, late] = run.members;
    await run.epoch(run.members, [first, second]);
    if (run.start === undefined) throw new Error("a start");
    await run.prepare([late], { ...run.start, mergers: [] });
    await run.expectInStep(late);
    expect([run.calls(late, "open"), run.calls(late, "load")]).toEqual([2, 1]);
  });
});

describe("merges that take more than replicas keep", () => {
  it.each([
    { where: "in the worker of who missed them", leaves: false },
    { where: "on the disk of who was away", leaves: true },
  ])("are not asked for: $where", async ({ leaves }) => {
    const run = new LongRun(4, mergeCodecs.dense8);
    const [first, second, third] = run.members;
    await run.epoch(run.members);
    await run.prepare([third]);
    if (leaves) await third.places.leave("Paused.", 0);
    await run.epoch([first, second]);
    await run.epoch([first, second]);
    if (leaves) third.places.join();
    const lists = run.merges.map(({ slices }) => slices);
    let asked = 0;
    run.swarm.network.fate = ({ kind, from, body }) => {
      if (kind === "blob-request" && from === third.id && lists.includes(decodeBody(blobRequestSchema, body).hash))
        asked += 1;
      return "deliver";
    };
    await run.prepare([third]);
    await run.expectInStep(third);
    expect(asked).toBe(0);
    const mergedBefore = leaves ? 0 : 1;
    expect(run.calls(third, "beginMerge")).toBe(mergedBefore);
  });
});

describe("a download of a state", () => {
  const width = 256;

  it("that broke off with the link goes on behind what has come", async () => {
    const run = new LongRun(width);
    const [first, second, joiner] = run.members;
    await run.epoch([first, second]);
    const got = run.onParts(
      joiner,
      () => run.start?.weights.hash,
      (before) => (before.length === 3 ? "drop" : "deliver"),
    );
    joiner.places.handle(await run.swarm.place(0, run.start));
    await run.swarm.until(() => got.length === 3);
    joiner.places.assigned(null); // as if its daemon had been ended
    await run.swarm.turns(10);
    const rest = run.onParts(joiner, () => run.start?.weights.hash);
    await run.prepare([joiner]);
    await run.expectInStep(joiner);
    expect(got).toEqual([0, maxPartBytes, 2 * maxPartBytes]);
    expect(Math.min(...rest)).toBe(3 * maxPartBytes);
  });

  it("that takes longer than an epoch is finished, and the merges since are made up for", async () => {
    const run = new LongRun(width);
    const [first, second, joiner] = run.members;
    await run.epoch([first, second]);
    const begun = run.start?.weights.hash;
    const got = run.onParts(
      joiner,
      () => begun,
      (before) => (before.length === 3 ? "drop" : "deliver"),
    );
    joiner.places.handle(await run.swarm.place(0, run.start));
    await run.swarm.until(() => got.length === 3);
    await run.epoch([first, second]);
    const rest = run.onParts(
      joiner,
      () => begun,
      () => "deliver",
    );
    await run.prepare([joiner]);
    await run.expectInStep(joiner);
    expect(Math.min(...rest)).toBe(3 * maxPartBytes);
    expect(run.calls(joiner, "applyMerged")).toBe(1);
  });
});
