/** Measuring the line to a network, against a gateway that is served here. */
import { afterEach, describe, expect, it } from "vitest";
import { measureLine } from "../../src/miner/line/measure-line.ts";
import { askHealth } from "../../src/miner/session/network-health.ts";
import { mostLineBytes } from "../../src/protocol/line-view.ts";
import { BootstrapNodes } from "../../src/transport/direct/bootstrap-nodes.ts";
import { type GatewayWorld, openGatewayWorld } from "./gateway-world.ts";

const timeout = 60_000;
const bytesPerSecond = 1e6;

/** What was used up stays so. */
const standingStill = () => 0;

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close();
});

async function openWorld(options: Parameters<typeof openGatewayWorld>[0] = {}): Promise<GatewayWorld> {
  const world = await openGatewayWorld(options);
  opened.push(world);
  return world;
}

function measure(network: string, options: Partial<Parameters<typeof measureLine>[0]> = {}) {
  return measureLine({
    network,
    limits: { upload: bytesPerSecond, download: bytesPerSecond },
    withoutRates: null,
    direct: true,
    onProgress: () => undefined,
    signal: new AbortController().signal,
    ...options,
  });
}

describe("the line to a network", { timeout }, () => {
  it("is measured within what this machine may send and receive", async () => {
    const nodes = await BootstrapNodes.open({ listenHost: "127.0.0.1", publicHost: "127.0.0.1", firstPort: 0 });
    opened.push(nodes);
    const world = await openWorld({ bootstrap: nodes.addresses });
    const heard: string[] = [];
    const line = await measure(`ws://127.0.0.1:${world.gateway.port}`, { onProgress: (text) => heard.push(text) });
    expect(line).toMatchObject({ way: "direct", failure: null, udp: "consistent", withoutRates: null });
    for (const rate of [line.upBytesPerSecond, line.downBytesPerSecond]) {
      expect(rate).toBeGreaterThan(0);
      expect(rate).toBeLessThanOrEqual(bytesPerSecond);
    }
    expect(line.roundTripMs).toBeGreaterThan(0);
    expect(line.movedBytes).toBeGreaterThan(0);
    expect(heard).toHaveLength(4);
  });

  it("is relayed where the network has no direct connections, or nobody answers over UDP", async () => {
    const world = await openWorld();
    const network = `ws://127.0.0.1:${world.gateway.port}`;
    const quick = { withoutRates: "not-asked" } as const;
    expect(await measure(network, quick)).toMatchObject({ way: "relayed", udp: "not-offered" });
    expect(await measure(network, { ...quick, direct: false })).toMatchObject({ way: "relayed", udp: "switched-off" });
    const silent = await openWorld({ bootstrap: [{ host: "127.0.0.1", port: 9 }] });
    expect(await measure(`ws://127.0.0.1:${silent.gateway.port}`, quick)).toMatchObject({
      way: "relayed",
      udp: "blocked",
      withoutRates: "not-asked",
      upBytesPerSecond: null,
      downBytesPerSecond: null,
    });
  });

  it("is reached all the same where the network has measured enough for now", async () => {
    const world = await openWorld({ clock: standingStill });
    const client = await world.connect();
    client.hello({ role: "observer" });
    const { blobToken } = await client.next("welcome");
    const headers = { authorization: `Bearer ${blobToken}` };
    const url = `127.0.0.1:${world.gateway.port}`;
    for (let asked = 0; asked < 8; asked++)
      await (await fetch(`http://${url}/line/${mostLineBytes}`, { headers })).arrayBuffer();
    const line = await measure(`ws://${url}`);
    expect(line).toMatchObject({ way: "relayed", failure: null, withoutRates: "refused", upBytesPerSecond: null });
    expect(line.roundTripMs).toBeGreaterThan(0);
  });

  it("is measured anew when this computer slept meanwhile", async () => {
    const world = await openWorld();
    let asleepMs = 0;
    const heard: string[] = [];
    const onProgress = (text: string) => {
      if (text.startsWith("download")) asleepMs = 3_600_000;
      heard.push(text);
    };
    const clock = { nowMs: () => performance.now() + asleepMs };
    const line = await measure(`ws://127.0.0.1:${world.gateway.port}`, { clock, onProgress });
    expect(heard.filter((text) => text.startsWith("reaching"))).toHaveLength(2);
    expect(line).toMatchObject({ failure: null, withoutRates: null });
    expect(line.downBytesPerSecond).toBeGreaterThan(bytesPerSecond / 10);
    expect(line.upBytesPerSecond).toBeGreaterThan(bytesPerSecond / 10);
  });

  it("is blocked where no network is, which is a result like others", async () => {
    expect(await measure("ws://127.0.0.1:1")).toMatchObject({ way: "blocked", failure: { code: "unreachable" } });
  });

  it("is given up when that is asked for", async () => {
    const world = await openWorld();
    const reason = new Error("enough");
    for (const step of ["reaching", "round trips", "download", "upload"]) {
      const stopping = new AbortController();
      const onProgress = (text: string) => text.startsWith(step) && stopping.abort(reason);
      const { signal } = stopping;
      await expect(measure(`ws://127.0.0.1:${world.gateway.port}`, { signal, onProgress })).rejects.toBe(reason);
    }
  });
});

describe("bytes to measure with", { timeout }, () => {
  async function visitor() {
    const world = await openWorld({ clock: standingStill });
    const client = await world.connect();
    client.hello({ role: "observer" });
    const { blobToken } = await client.next("welcome");
    const url = `http://127.0.0.1:${world.gateway.port}`;
    const ask = (path: string, init: RequestInit = {}, token = blobToken) =>
      fetch(`${url}/line/${path}`, { headers: { authorization: `Bearer ${token}` }, ...init });
    return { url, ask };
  }

  it("are sent and taken, as many as were named", async () => {
    const { ask } = await visitor();
    const answer = await ask("100000");
    expect((await answer.arrayBuffer()).byteLength).toBe(100_000);
    expect((await ask("5", { method: "PUT", body: "bytes" })).status).toBe(204);
  });

  it("are none for a round trip, which is no transfer and may be had beside any", async () => {
    const { ask } = await visitor();
    const transfers = [await ask(`${mostLineBytes}`), await ask(`${mostLineBytes}`)];
    expect((await ask("1")).status).toBe(429);
    for (let trip = 0; trip < 10; trip++) expect((await ask("0")).status).toBe(200);
    for (const { body } of transfers) await body?.cancel();
  });

  it("are for those who have a session, and never more than a measurement needs", async () => {
    const { url, ask } = await visitor();
    expect((await ask("1", {}, "nobody's")).status).toBe(401);
    expect((await ask("1", { method: "DELETE" })).status).toBe(405);
    for (const path of ["-1", "1.5", "", "x", `${mostLineBytes + 1}`]) expect((await ask(path)).status).toBe(400);
    expect((await ask("3", { method: "PUT", body: "more than three" })).status).toBe(400);
    expect((await askHealth(url.replace("http", "ws"))).refusals).toEqual({
      "not-authorised": 1,
      "malformed-message": 6,
    });
  });

  it("come to an end for a household, and then it is told to wait", async () => {
    const { ask } = await visitor();
    const statuses: number[] = [];
    for (let asked = 0; asked < 9; asked++) {
      const answer = await ask(String(mostLineBytes));
      await answer.arrayBuffer();
      statuses.push(answer.status);
    }
    expect(statuses).toEqual([...new Array<number>(8).fill(200), 429]);
  });
});
