import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { fakeHash } from "../../src/network/orchestrator/core/fake-swarm.ts";
import { placeRef } from "../../src/network/orchestrator/core/state.ts";
import { FailureError } from "../../src/protocol/failure.ts";
import { fakeHotkeyProof } from "../../src/protocol/fake-hotkey.ts";
import { encodeFrame } from "../../src/protocol/frames.ts";
import { createIdentity, hashBytes, verifySignature } from "../../src/protocol/identity.ts";
import type { BlobHash } from "../../src/protocol/ids.ts";
import { closeCodes } from "../../src/protocol/local-api.ts";
import { readPayoutAddress } from "../../src/protocol/payout-address.ts";
import { receiptBytes } from "../../src/protocol/receipt.ts";
import { recordBytes, type Transfer, type TransferRecord } from "../../src/protocol/transfer-record.ts";
import { type FakeClient, type GatewayWorld, type MergedStage, openGatewayWorld } from "./gateway-world.ts";

let world: GatewayWorld;
afterEach(async () => {
  await world.close();
  expect(world.logged).toEqual([]);
});
const open = async (options: Parameters<typeof openGatewayWorld>[0] = {}) => {
  world = await openGatewayWorld(options);
};

describe("a session", () => {
  beforeEach(() => open());

  it("starts with the whole run, and then hears only what is new", async () => {
    const first = await world.connect();
    first.hello({ role: "observer" });
    await first.next("welcome");
    const { update } = await first.next("run-update");
    expect(update).toMatchObject({
      runId: "test-run",
      view: { phase: "waiting" },
      epochs: [],
      evaluations: [],
      log: [],
    });
    const miner = await world.enter();
    miner.join();
    const news = await first.next("run-update");
    expect(news.update.log).toHaveLength(1);
    expect(news.update.epochs).toBeUndefined();
    const late = await world.connect();
    late.hello({ role: "observer" });
    expect((await late.next("run-update")).update.log).toHaveLength(1);
  });

  it("hears why the run stands still while the network's disk is full, and when it goes on", async () => {
    const miner = await world.enter();
    const { commit } = world.store;
    world.store.commit = () => Promise.reject(new FailureError("disk-full", "no space"));
    miner.join();
    expect((await miner.next("run-update")).update.view?.reason).toContain("disk is full");
    world.store.commit = commit.bind(world.store);
    await miner.next("idle");
    await vi.waitUntil(async () => (await miner.next("run-update")).update.view?.reason.includes("no miner"));
  });

  it("is refused to who signs with another key, another nonce or for another role", async () => {
    const [forger, replayer, pretender] = [await world.connect(), await world.connect(), await world.connect()];
    forger.sayHello({ ...forger.helloMessage(), minerId: createIdentity().minerId });
    const honest = await world.connect();
    const old = honest.helloMessage();
    honest.sayHello(old);
    await honest.next("welcome");
    replayer.sayHello(old);
    pretender.sayHello({ ...pretender.helloMessage("observer"), role: "miner" });
    for (const client of [forger, replayer, pretender]) {
      expect((await client.next("refused")).failure.code).toBe("bad-signature");
      expect(await client.closed).toBe(closeCodes.notAuthorised);
    }
  });

  it("is refused to another protocol, with what to do about it", async () => {
    const client = await world.connect();
    client.sayHello({ ...client.helloMessage(), protocol: 0 });
    const { failure } = await client.next("refused");
    expect(failure).toMatchObject({
      code: "unsupported-version",
      action: "Update Train at Home; what this machine has earned stays with its key.",
    });
    await client.closed;
  });

  it("is replaced by a newer one with the same key, whose miner has to join again", async () => {
    const older = await world.enter();
    older.join();
    await older.next("idle");
    const newer = await world.enter({ identity: older.identity });
    expect((await older.next("refused")).failure.code).toBe("duplicate-session");
    expect(await older.closed).toBe(closeCodes.replaced);
    await world.orchestrator.settled();
    expect(world.orchestrator.state.away.map(({ minerId }) => minerId)).toEqual([older.identity.minerId]);
    newer.join();
    await newer.next("idle");
    expect(world.orchestrator.state.members).toHaveLength(1);
  });

  it("of an observer neither trains nor sends frames", async () => {
    const observer = await world.enter({ role: "observer" });
    observer.join();
    expect((await observer.next("refused")).failure.code).toBe("not-authorised");
    const peer = createIdentity().minerId;
    observer.sendFrame({ kind: "forward", peer, messageNumber: 0, totalBytes: 1, offset: 0, chunk: Uint8Array.of(1) });
    expect(await observer.next("refused")).toMatchObject({ failure: { code: "not-authorised" }, closing: false });
  });

  it("that sends more than it may is told so", async () => {
    await world.close();
    await open({ limits: { messagesPerSecond: 5 } });
    const client = await world.enter();
    for (let index = 0; index < 6; index++) client.send({ type: "leave", reason: "" });
    expect((await client.next("refused")).failure.code).toBe("unexpected-message");
  });
});

describe("a crowd that comes at once", () => {
  afterEach(() => vi.useRealTimers());

  it("is told to those who are there in one update, and told everything then", async () => {
    await open({ clock: () => 0 });
    const first = await world.enter();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const crowd: FakeClient[] = [];
    for (let count = 0; count < 3; count++) {
      const client = await world.connect();
      client.hello();
      await client.next("welcome");
      client.join();
      while (world.orchestrator.state.members.length === count) await new Promise(setImmediate);
      crowd.push(client);
    }
    vi.advanceTimersByTime(100);
    const placed = (await first.next("run-update")).update.view?.stages.flatMap(({ replicas }) => replicas);
    expect(placed).toHaveLength(3);
    for (const client of crowd) expect((await client.next("run-update")).update.epochs).toEqual([]);
  });
});

describe("a payout address", () => {
  const address = readPayoutAddress("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");

  it("is a miner's to name, with its checksum, and not over and over", async () => {
    const named: unknown[] = [];
    await open({ onPayoutAddress: (...told) => named.push(told) });
    const miner = await world.enter();
    for (let count = 0; count < 6; count++) miner.send({ type: "payout", address });
    expect((await miner.next("refused")).failure.code).toBe("unexpected-message");
    expect(named).toEqual(new Array(5).fill([miner.identity.minerId, address]));
    miner.sendUnchecked({ type: "payout", address: address.replace("Q", "R") });
    expect((await miner.next("refused")).failure.code).toBe("malformed-message");
    const observer = await world.enter({ role: "observer" });
    observer.send({ type: "payout", address });
    expect((await observer.next("refused")).failure.code).toBe("not-authorised");
  });
});

describe("a hotkey", () => {
  it("is a miner's to prove; where it is refused, the miner is told why and goes on without", async () => {
    const told: unknown[] = [];
    await open({
      onHotkey: async (...claim) => {
        told.push(claim);
        if (claim[1] !== null) throw new FailureError("bad-signature", "not signed");
      },
    });
    const miner = await world.enter();
    const proof = fakeHotkeyProof(miner.identity.minerId, miner.identity.minerId, 0);
    miner.send({ type: "hotkey", proof });
    expect(await miner.next("refused")).toMatchObject({ failure: { code: "bad-signature" }, closing: false });
    miner.sendUnchecked({ type: "hotkey", proof: { ...proof, address: proof.address.replace("Q", "R") } });
    expect((await miner.next("refused")).failure.code).toBe("malformed-message");
    for (let count = 0; count < 5; count++) miner.send({ type: "hotkey", proof: null });
    expect((await miner.next("refused")).failure.code).toBe("unexpected-message");
    const { minerId } = miner.identity;
    expect(told).toEqual([[minerId, proof], ...new Array(4).fill([minerId, null])]);
    const observer = await world.enter({ role: "observer" });
    observer.send({ type: "hotkey", proof: null });
    expect((await observer.next("refused")).failure.code).toBe("not-authorised");
  });
});

describe("steering", () => {
  it("is the owner's", async () => {
    const owner = createIdentity();
    await open({ owners: new Set([owner.minerId]) });
    const { runId } = world.orchestrator.state.definition;
    const stranger = await world.enter();
    expect(await stranger.command({ type: "steer-run", runId, action: "pause" })).toMatchObject({
      failure: { code: "not-authorised" },
    });
    const steering = await world.enter({ identity: owner, role: "observer" });
    expect(await steering.command({ type: "steer-run", runId, action: "pause" })).toEqual({ ok: true, runId });
    await stranger.next("run-update", ({ update }) => update.view?.phase === "paused");
  });

  it("is not open to who merely sits at the same computer", async () => {
    await open();
    const { runId } = world.orchestrator.state.definition;
    const client = await world.enter({ role: "observer" });
    expect(await client.command({ type: "steer-run", runId, action: "pause" })).toMatchObject({
      failure: { code: "not-authorised" },
    });
    expect(world.orchestrator.state.intent).toBe("run");
  });

  it("knows which runs there are, and may end them", async () => {
    const owner = createIdentity();
    await open({ owners: new Set([owner.minerId]) });
    const { runId } = world.orchestrator.state.definition;
    const client = await world.enter({ identity: owner });
    const other = `${runId}-2` as typeof runId;
    expect(await client.command({ type: "steer-run", runId: other, action: "finish" })).toMatchObject({
      failure: { code: "not-found" },
    });
    expect(await client.command({ type: "steer-run", runId, action: "finish" })).toEqual({ ok: true, runId });
    await client.next("run-update", ({ update }) => update.view?.phase === "finished");
  });
});

describe("frames", () => {
  let members: FakeClient[];
  beforeEach(async () => {
    await open();
    members = await world.train();
  });
  const member = (index: number) => members[index] ?? expect.fail("no such member");
  const frame = (peer: FakeClient, messageNumber: number, chunk: Uint8Array, totalBytes = chunk.length, offset = 0) =>
    ({ kind: "forward", peer: peer.identity.minerId, messageNumber, totalBytes, offset, chunk }) as const;

  it("reach the other member in order, named after who sent them", async () => {
    const [a, b] = [member(0), member(1)];
    for (let index = 0; index < 5; index++) a.sendFrame(frame(b, index, Uint8Array.of(index)));
    for (let index = 0; index < 5; index++)
      expect(await b.nextFrame()).toEqual({ ...frame(a, index, Buffer.of(index)) });
  });

  it("to nobody, or to who is not in the run, are undeliverable: once per message", async () => {
    const [a] = [member(0)];
    const outsider = await world.enter();
    a.sendFrame(frame(outsider, 1, Uint8Array.of(1), 3, 0));
    a.sendFrame(frame(outsider, 1, Uint8Array.of(1), 3, 1));
    a.sendFrame(frame(outsider, 2, Uint8Array.of(1)));
    outsider.sendFrame(frame(a, 1, Uint8Array.of(1)));
    for (const client of [outsider, a]) await client.flushed();
    expect(outsider.received("undeliverable")).toEqual([]);
    expect(a.frames).toEqual([]);
    expect(a.received("undeliverable").map(({ peer }) => peer)).toEqual(new Array(2).fill(outsider.identity.minerId));
  });

  it("to a member that has just been lost are undeliverable", async () => {
    const [a, b] = [member(0), member(1)];
    b.end();
    const isLost = (one: { readonly state: string }) => one.state === "lost";
    await a.next(
      "run-update",
      ({ update }) => update.view?.stages.some(({ replicas }) => replicas.some(isLost)) ?? false,
    );
    a.sendFrame(frame(b, 1, Uint8Array.of(1)));
    expect(await a.next("undeliverable")).toMatchObject({ peer: b.identity.minerId });
  });

  it("to a slow receiver make their sender wait, and all arrive in the end", async () => {
    const [a, b] = [member(0), member(1)];
    b.socket.pause();
    const chunk = Buffer.alloc(1 << 20, 7);
    const count = 48;
    let sent = 0;
    const allSent = new Promise<void>((resolve) => {
      for (let index = 0; index < count; index++)
        a.socket.send(encodeFrame(frame(b, index, chunk)), () => {
          sent += 1;
          if (sent === count) resolve();
        });
    });
    // The gateway stops reading from the sender long before it holds all of it; a third member's traffic is not touched.
    const third = await world.enter({ role: "observer" });
    await third.flushed();
    expect(sent).toBeLessThan(count);
    b.socket.resume();
    await allSent;
    for (let index = 0; index < count; index++) {
      const { messageNumber, chunk: arrived } = await b.nextFrame();
      expect(messageNumber).toBe(index);
      expect(arrived.length).toBe(chunk.length);
    }
  });

  it("are counted for the dashboards, with what the miners say of their progress", async () => {
    const [a, b] = [member(0), member(1)];
    const watcher = await world.enter({ role: "observer" });
    const [at, lastAt] = [placeRef(world.orchestrator.state, 0), placeRef(world.orchestrator.state, 1)];
    const progress = {
      type: "progress",
      tokensBackward: 64,
      microbatchesDone: 1,
      microbatchesLost: 0,
      microbatchesInFlight: 2,
      microbatchesRerouted: 1,
      microbatchesStale: 1,
      messagesDamaged: 1,
      stalenessSum: 3,
      stalenessMost: 2,
      tokensPerSecond: 10,
      memoryBytes: 5,
      lossSumNats: null,
    } as const;
    a.send({ ...progress, at });
    b.send({ ...progress, at: lastAt, lossSumNats: 128 });
    a.send({ ...progress, at: { ...at, attempt: 9 } });
    b.send({ ...progress, at: lastAt, lossSumNats: 128 });
    a.send({ ...progress, at });
    a.sendFrame(frame(b, 0, Uint8Array.of(1)));
    const { update } = await watcher.next("run-update", ({ update: one }) => (one.telemetry?.flows.length ?? 0) > 0);
    expect(update.telemetry).toMatchObject({
      microbatchesDone: 1,
      microbatchesPlanned: 4,
      trainLossNats: 2,
      microbatchesRerouted: 2,
      microbatchesStale: 2,
      messagesDamaged: 2,
      staleness: { mean: 3, most: 2 },
      miners: [{ tokensPerSecond: 10 }, { tokensPerSecond: 10 }],
      flows: [{ from: a.identity.minerId, to: b.identity.minerId, kind: "forward", messages: 1 }],
    });
  });
});

describe("what a miner says against another", () => {
  it("has to be signed by the other one, which is out of the epoch then; else nothing happens to it", async () => {
    await open();
    const [accused, accuser] = await world.train();
    if (accused === undefined || accuser === undefined) throw new Error("two members");
    const at = placeRef(world.orchestrator.state, 0);
    const transfer: Transfer = { networkId: world.networkId, at, kind: "forward", step: 0, index: 1 };
    const record = (content: string, signer = accused.identity): TransferRecord => ({
      sender: accused.identity.minerId,
      content: fakeHash(content),
      signature: Buffer.from(signer.sign(recordBytes(transfer, fakeHash(content)))).toString("hex"),
    });
    const accuse = (one: TransferRecord, other: TransferRecord) => {
      const { networkId: _, ...about } = transfer;
      accuser.send({ type: "accuse", ...about, proof: { type: "two-contents", records: [one, other] } });
    };
    const partOfAccused = () => world.orchestrator.state.replicas[0]?.[0];
    for (const forged of [record("one"), record("other", accuser.identity)]) {
      accuse(record("one"), forged);
      expect((await accuser.next("refused")).failure.code).toBe("bad-signature");
    }
    expect(partOfAccused()).toMatchObject({ part: "live", convicted: false });
    accuse(record("one"), record("other"));
    // The stage has lost its only replica, so that the epoch is tried again.
    await vi.waitUntil(() => world.orchestrator.state.attempt === 1);
    expect(world.orchestrator.state.log.map(({ text }) => text).join()).toContain("signed different numbers");
  });
});

describe("an epoch over the wire", () => {
  it("is followed by the next one at once, and by receipts that the network has signed once the checkpoint is stored", async () => {
    await open();
    const merged = await world.merge();
    for (const { member, at } of merged) expect((await member.next("prepare")).at).toEqual({ ...at, epoch: 1 });
    for (const { member, at, weights, optimizer, state } of merged) {
      const stored = { type: "stored", at, ...state } as const;
      member.send(stored);
      expect((await member.next("refused")).failure.code).toBe("blob-not-found");
      for (const bytes of [weights, optimizer]) await world.blobs.put(bytes);
      expect(member.received("receipt")).toEqual([]);
      member.send(stored);
    }
    for (const { member, at } of merged) {
      const { receipt, signature } = await member.next("receipt");
      expect(receipt).toMatchObject({
        minerId: member.identity.minerId,
        stage: at.stage,
        tokens: 256,
        networkId: world.networkId,
      });
      expect(verifySignature(receipt.networkId as never, receiptBytes(receipt), signature)).toBe(true);
    }
  });
});

describe("blobs", () => {
  let merged: MergedStage[];
  let client: FakeClient;
  let content: Buffer<ArrayBuffer>;
  let hash: BlobHash;
  beforeEach(async () => {
    await open();
    merged = await world.merge();
    const [first = expect.fail("nobody trains")] = merged;
    client = first.member;
    content = first.weights;
    hash = first.state.weights.hash;
  });
  const ask = (name: string, init: RequestInit = {}, asking = client) =>
    fetch(`http://127.0.0.1:${world.gateway.port}/blobs/${name}`, {
      ...init,
      headers: { authorization: `Bearer ${asking.blobToken}`, ...(init.headers as Record<string, string>) },
    });
  const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());

  it("are put, asked for, fetched, and resumed from where they stopped", async () => {
    const { length } = content;
    expect((await ask(hash, { method: "HEAD" })).status).toBe(404);
    expect((await ask(hash, { method: "PUT", body: content })).status).toBe(201);
    const head = await ask(hash, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, String(length)]);
    expect((await bytesOf(await ask(hash))).equals(content)).toBe(true);
    const rest = await ask(hash, { headers: { range: "bytes=6-" } });
    expect([rest.status, rest.headers.get("content-range")]).toEqual([206, `bytes 6-${length - 1}/${length}`]);
    expect((await bytesOf(rest)).equals(content.subarray(6))).toBe(true);
    expect((await ask(hash, { headers: { range: `bytes=${length}-` } })).status).toBe(416);
  });

  it("are not given away when they are no longer what was stored", async () => {
    await ask(hash, { method: "PUT", body: content });
    vi.spyOn(world.blobs, "isIntact").mockResolvedValue(false);
    for (const method of ["GET", "HEAD"]) expect((await ask(hash, { method })).status).toBe(404);
  });

  it("are refused when they are something else, too large, or come without a valid token", async () => {
    const other = Buffer.alloc(content.length, 99);
    expect((await ask(hash, { method: "PUT", body: other })).status).toBe(422);
    expect(world.blobs.bytesOf(hash)).toBeUndefined();
    const large = Buffer.alloc((1 << 20) + 1);
    expect((await ask(hash, { method: "PUT", body: large })).status).toBe(413);
    expect((await ask("..%2fnetwork.sqlite")).status).toBe(400);
    expect((await ask(hash, { headers: { authorization: "Bearer nonsense" } })).status).toBe(401);
    client.end();
    await client.closed;
    await world.enter();
    expect((await ask(hash)).status).toBe(401);
  });

  it("are for miners to fetch, and for those to store who were asked for them", async () => {
    const ref = await world.blobs.put(Buffer.from("checkpoint"));
    const observer = await world.enter({ role: "observer" });
    const outsider = await world.enter();
    for (const method of ["GET", "HEAD"]) {
      expect((await ask(ref.hash, { method }, observer)).status).toBe(403);
      expect((await ask(ref.hash, { method }, outsider)).status).toBe(200);
    }
    const [, colleague = expect.fail("one stage only")] = merged.map(({ member }) => member);
    for (const stranger of [observer, outsider, colleague])
      expect((await ask(hash, { method: "PUT", body: content }, stranger)).status).toBe(403);
    const unwanted = Buffer.from("nobody asked for it");
    expect((await ask(hashBytes(unwanted), { method: "PUT", body: unwanted })).status).toBe(403);
    expect(world.blobs.bytesOf(hash)).toBeUndefined();
  });

  it("may be sent twice and a little, whether the sender says how large they are or not, and then no more", async () => {
    const budgetBytes = 2 * content.length + (64 << 10);
    const half = Buffer.alloc(budgetBytes / 2, 97);
    const rest = Buffer.alloc(budgetBytes - half.length - 1, 98);
    const tooMuch = Buffer.from("ab");
    for (const body of [half, rest]) expect((await ask(hash, { method: "PUT", body })).status).toBe(422);
    expect((await ask(hash, { method: "PUT", body: tooMuch })).status).toBe(413);
    const unsized = { method: "PUT", body: new Blob([tooMuch]).stream(), duplex: "half" } as RequestInit;
    expect((await ask(hash, unsized)).status).toBe(413);
    expect(world.blobs.bytesOf(hash)).toBeUndefined();
    const [{ optimizer, state } = expect.fail("nobody trains")] = merged;
    expect((await ask(state.optimizer.hash, { method: "PUT", body: optimizer })).status).toBe(201);
  });
});
