/** Whom a network lets in: bans, invitations and work, with hand-driven clients and with the miner's own session. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { AdmissionProofs } from "../../src/miner/session/admission-proofs.ts";
import { systemClock } from "../../src/miner/session/clock.ts";
import { Session } from "../../src/miner/session/session.ts";
import { ban, unban } from "../../src/network/admission/bans.ts";
import { Members } from "../../src/network/admission/members.ts";
import { accounts } from "../../src/network/ledger/ledger.ts";
import { type Invitation, invitationToken, workSolution } from "../../src/protocol/admission.ts";
import type { Failure } from "../../src/protocol/failure.ts";
import { createIdentity, type Identity } from "../../src/protocol/identity.ts";
import { closeCodes } from "../../src/protocol/local-api.ts";
import { Traffic } from "../../src/transport/traffic/traffic.ts";
import { type FakeClient, type GatewayWorld, openGatewayWorld } from "./gateway-world.ts";

let world: GatewayWorld;
afterEach(async () => {
  await world.close();
  expect(world.logged).toEqual([]);
});

const nowSeconds = () => Math.floor(Date.now() / 1000);
const invitation = (part: Partial<Invitation> = {}): Invitation => ({
  id: "0123456789abcdef",
  uses: 1,
  expiresAtSeconds: nowSeconds() + 3600,
  ...part,
});
const tokenOf = (part: Partial<Invitation> = {}, network = world.identity) =>
  invitationToken(invitation(part), network);

/** Says hello, and brings a token if it has one. */
async function knock(token?: string, identity?: Identity): Promise<FakeClient> {
  const client = await world.connect();
  client.hello(identity === undefined ? {} : { identity });
  if (token !== undefined) client.send({ type: "admission-proof", proof: { kind: "invitation", token } });
  return client;
}

/** The session of a real miner: resolves when it is open, or with why it is not. */
async function mine(invited: string | null, identity = createIdentity()): Promise<"open" | Failure> {
  const proofs = new AdmissionProofs(identity.minerId, invited);
  const prove: AdmissionProofs["prove"] = (need, networkId) => proofs.prove(need, networkId);
  const url = `ws://127.0.0.1:${world.gateway.port}`;
  const credentials = { identity, name: "miner", role: "miner", prove } as const;
  const { promise, resolve } = Promise.withResolvers<"open" | Failure>();
  const session = new Session(
    { url, credentials, clock: systemClock, traffic: new Traffic(systemClock), log: () => undefined },
    { opened: () => resolve("open"), message: () => undefined, lost: resolve },
  );
  session.open();
  const outcome = await promise;
  session.close();
  return outcome;
}

async function refusals(): Promise<Record<string, number>> {
  const health = await fetch(`http://127.0.0.1:${world.gateway.port}/health`);
  return ((await health.json()) as { refusals: Record<string, number> }).refusals;
}

describe("a network for those who are invited", () => {
  const open = async () => {
    world = await openGatewayWorld({ admission: { kind: "invitation" } });
  };

  it("lets in who has an invitation, and the same key without one from then on", async () => {
    await open();
    const identity = createIdentity();
    expect(await mine(tokenOf(), identity)).toBe("open");
    expect(await mine(null, identity)).toBe("open");
    expect(new Members(world.stateFolder).has(identity.minerId)).toBe(true);
  });

  it("tells who has none what to do", async () => {
    await open();
    expect(await mine(null)).toMatchObject({ code: "admission-refused", action: expect.stringContaining("invit") });
  });

  it("lets in so many as the invitation is for, and no more", async () => {
    await open();
    const token = tokenOf({ uses: 2 });
    expect([await mine(token), await mine(token)]).toEqual(["open", "open"]);
    expect(await mine(token)).toMatchObject({ code: "admission-refused", message: expect.stringContaining("used") });
    expect(await refusals()).toEqual({ "admission-refused": 1 });
  });

  it("takes no invitation that has expired, is another network's, was changed or is none", async () => {
    await open();
    const changed = Buffer.from(tokenOf(), "base64url");
    changed.writeUInt16LE(60_000, 9);
    const tokens = [
      tokenOf({ expiresAtSeconds: nowSeconds() - 1 }),
      tokenOf({}, createIdentity()),
      changed.toString("base64url"),
      tokenOf().slice(0, -4),
      "",
    ];
    for (const token of tokens) {
      const client = await knock(token);
      await client.next("admission");
      expect((await client.next("refused")).failure.code).toBe("admission-refused");
      expect(await client.closed).toBe(closeCodes.notAuthorised);
    }
  });

  it("hears nothing else from who is not in yet", async () => {
    await open();
    const client = await knock();
    await client.next("admission");
    client.join();
    expect(await client.next("refused")).toMatchObject({ failure: { code: "unexpected-message" }, closing: true });
    expect(world.orchestrator.state.members).toEqual([]);
  });

  it("asks nothing of its owner, nor of who only looks", async () => {
    const owner = createIdentity();
    world = await openGatewayWorld({ admission: { kind: "invitation" }, owners: new Set([owner.minerId]) });
    await (await knock(undefined, owner)).next("welcome");
    await world.enter({ role: "observer" });
  });
});

describe("a network that asks for work", () => {
  it("lets in who has done it", async () => {
    world = await openGatewayWorld({ admission: { kind: "proof-of-work", bits: 8 } });
    expect(await mine(null)).toBe("open");
  });

  it("refuses who has not", async () => {
    world = await openGatewayWorld({ admission: { kind: "proof-of-work", bits: 28 } });
    const client = await knock();
    expect((await client.next("admission")).need).toEqual({ kind: "proof-of-work", bits: 28 });
    client.send({ type: "admission-proof", proof: { kind: "proof-of-work", solution: workSolution(7) } });
    expect((await client.next("refused")).failure.code).toBe("admission-refused");
    const inviting = await knock(tokenOf());
    expect((await inviting.next("refused")).failure.code).toBe("admission-refused");
  });
});

describe("a ban", { timeout: 60_000 }, () => {
  it("ends the sessions of its key at once, and keeps it out with the reason until it is lifted", async () => {
    world = await openGatewayWorld();
    const [banned, other] = await world.train();
    if (banned === undefined || other === undefined) throw new Error("nobody trains");
    const { minerId } = banned.identity;
    ban(world.stateFolder, { minerId, reason: "sends garbage", atMs: 1 });
    const { failure } = await banned.next("refused");
    expect(failure).toMatchObject({ code: "banned", message: expect.stringContaining("sends garbage") });
    expect(await banned.closed).toBe(closeCodes.notAuthorised);
    const again = await knock(undefined, banned.identity);
    expect((await again.next("refused")).failure.code).toBe("banned");
    expect(other.received("refused")).toEqual([]);
    unban(world.stateFolder, minerId);
    await vi.waitFor(async () => (await knock(undefined, banned.identity)).next("welcome"), { timeout: 20_000 });
  });
});

describe("a key", () => {
  it("that opens session after session is told to stop, and others are not", async () => {
    world = await openGatewayWorld({ limits: { connectionsPerSecond: 1e6 } });
    const identity = createIdentity();
    for (let count = 0; count < 30; count++) await knock(undefined, identity);
    const last = await knock(undefined, identity);
    expect((await last.next("refused")).failure.code).toBe("too-many-connections");
    expect(await last.closed).toBe(closeCodes.tooMany);
    await world.enter();
  });
});

describe("an old build", () => {
  it("is told to update whatever else it says, and what its key has earned stays in the books", async () => {
    world = await openGatewayWorld();
    const merged = await world.merge();
    for (const { member, at, weights, optimizer, state } of merged) {
      for (const bytes of [weights, optimizer]) await world.blobs.put(bytes);
      member.send({ type: "stored", at, ...state });
    }
    const [{ member } = expect.fail("nobody trains")] = merged;
    const { receipt } = await member.next("receipt");
    const old = await world.connect();
    // Built before this network's version, it says hello in its own way.
    old.sendUnchecked({ type: "hello", protocol: 1, key: member.identity.minerId, nickname: "old" });
    const { failure } = await old.next("refused");
    expect(failure).toMatchObject({
      code: "unsupported-version",
      action: expect.stringContaining("stays with its key"),
    });
    await old.closed;
    const balances = await world.store.balances();
    expect(balances.get(accounts.payable(member.identity.minerId))).toBe(BigInt(receipt.microCredits));
  });
});
