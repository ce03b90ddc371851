import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import type { ClientMessage } from "../protocol/client-messages.ts";
import { fakeHotkeyProof } from "../protocol/fake-hotkey.ts";
import { createIdentity } from "../protocol/identity.ts";
import { runIdSchema } from "../protocol/ids.ts";
import { type Receipt, receiptBytes } from "../protocol/receipt.ts";
import { createMiner } from "./create-miner.ts";
import { FakeGatewaySession } from "./session/fake-gateway.ts";

it("a miner counts only receipts that its network signed for it, and tells it alone who vouches for it", async () => {
  const network = createIdentity();
  const stranger = createIdentity();
  const identity = createIdentity();
  const proof = fakeHotkeyProof(identity.minerId, network.minerId, Date.now());
  const stateFolder = mkdtempSync(join(tmpdir(), "create-miner-"));
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const logged: string[] = [];
  const counted: { receipt: Receipt; signature: Uint8Array }[] = [];
  const miner = createMiner({
    identity,
    name: "test",
    networkUrl: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stateFolder,
    device: {
      platform: "fake",
      cpu: "fake",
      cores: 1,
      memoryBytes: 1,
      memoryLimitBytes: 1,
      maximumStages: 64,
      backend: "reference",
      precision: "f32",
      adapter: null,
      blockTokensPerSecond: null,
    },
    threads: 1,
    limits: { upload: null, download: null },
    payoutAddress: null,
    hotkey: proof,
    direct: true,
    log: (level, _source, text) => level === "warning" && logged.push(text),
  });
  onTestFinished(async () => {
    await miner.close(0);
    server.close();
    rmSync(stateFolder, { recursive: true });
  });
  const came = new Promise<void>((resolve) => {
    miner.onEvent((event) => {
      if (event.type !== "receipt") return;
      counted.push(event);
      if (event.receipt.at.epoch === 4) resolve();
    });
  });
  miner.open();
  const [socket] = (await once(server, "connection")) as [WebSocket];
  const gateway = await FakeGatewaySession.open(socket, network);
  const heard: ClientMessage[] = [];
  socket.on("message", (data: Buffer) => heard.push(gateway.read(data)));

  const receipt = (epoch: number): Receipt => ({
    networkId: network.minerId,
    minerId: identity.minerId,
    at: { runId: runIdSchema.parse("run"), epoch, attempt: 0 },
    stage: 0,
    tokens: 10,
    checks: ["merged-hash-agrees"],
    microCredits: 1_000,
    atMs: 1,
  });
  const grant = (granted: Receipt, signer = network, signed = granted) =>
    gateway.say({ type: "receipt", receipt: granted, signature: Uint8Array.from(signer.sign(receiptBytes(signed))) });
  grant(receipt(0), stranger);
  grant({ ...receipt(1), microCredits: 2_000 }, network, receipt(1));
  grant({ ...receipt(2), minerId: stranger.minerId });
  grant({ ...receipt(3), networkId: stranger.minerId }, stranger);
  grant(receipt(4));
  await came;
  const said = (type: ClientMessage["type"]) => heard.filter((message) => message.type === type);
  await vi.waitUntil(() => said("hotkey").length === 2);
  expect(said("payout")).toEqual(new Array(2).fill({ type: "payout", address: null }));
  expect(said("hotkey")).toEqual(new Array(2).fill({ type: "hotkey", proof }));
  miner.setHotkey(fakeHotkeyProof(identity.minerId, stranger.minerId, Date.now()));
  await vi.waitUntil(() => said("hotkey").length === 3);
  expect(said("hotkey").at(-1)).toEqual({ type: "hotkey", proof: null });
  expect(logged.at(-1)).toContain("not for this one");
  expect(counted.map((one) => one.receipt)).toEqual([receipt(4)]);
  expect(Buffer.from(counted[0]?.signature ?? [])).toEqual(Buffer.from(network.sign(receiptBytes(receipt(4)))));
  expect(logged.filter((line) => line.includes("not signed by this network"))).toHaveLength(4);
});
