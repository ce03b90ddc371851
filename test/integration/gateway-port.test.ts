/** Which connections and requests the gateway's port takes, and how it answers the others. */
import { once } from "node:events";
import { request } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { Gateway } from "../../src/network/gateway/gateway.ts";
import { fakeHash } from "../../src/network/orchestrator/core/fake-swarm.ts";
import { failureOf } from "../../src/protocol/failure.ts";
import { protocolVersion } from "../../src/protocol/messages.ts";
import { type GatewayWorld, openGatewayWorld } from "./gateway-world.ts";

let world: GatewayWorld;
afterEach(async () => {
  await world.close();
  expect(world.logged).toEqual([]);
});
const open = async (options: Parameters<typeof openGatewayWorld>[0] = {}) => {
  world = await openGatewayWorld(options);
};

describe("the port", () => {
  it("says that it is in use", async () => {
    await open();
    const { runs, blobs, identity, gateway, admission } = world;
    const second = Gateway.listen({
      host: "127.0.0.1",
      port: gateway.port,
      identity,
      runs,
      blobs,
      admission,
      owners: new Set(),
      clock: () => 0,
      log: () => undefined,
    });
    expect(failureOf(await second.catch((error) => error))?.code).toBe("port-in-use");
  });

  it("is closed to web pages, by their origin or by the name that they gave this computer", async () => {
    await open();
    const status = (path: string, headers: Record<string, string>, method = "GET") =>
      new Promise<number | undefined>((resolve, reject) => {
        const { port } = world.gateway;
        const asked = request({ host: "127.0.0.1", port, path, method, headers, agent: false }, (response) => {
          response.resume().on("end", () => resolve(response.statusCode));
        });
        asked.on("upgrade", (_response, socket) => {
          socket.destroy();
          resolve(101);
        });
        asked.on("error", reject).end();
      });
    const upgrade = {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    };
    const { port } = world.gateway;
    const pages: readonly Record<string, string>[] = [
      { origin: "https://page.example" },
      { origin: "null" },
      { host: `page.example:${port}` },
    ];
    for (const foreign of pages) {
      expect(await status("/session", { ...upgrade, ...foreign })).toBe(403);
      expect(await status("/health", foreign)).toBe(403);
      expect(await status(`/blobs/${fakeHash("any")}`, foreign, "PUT")).toBe(403);
    }
    for (const host of ["localhost", "127.0.0.1", "[::1]", "192.168.0.7"].map((name) => `${name}:${port}`)) {
      expect(await status("/session", { ...upgrade, host })).toBe(101);
      expect(await status("/health", { host })).toBe(200);
    }
  });

  it("behind a proxy counts connections by the address that the proxy saw, and by nothing that a client says", async () => {
    await open({ behindProxy: true, limits: { connectionsPerAddress: 1 } });
    const sockets: WebSocket[] = [];
    const status = async (forwardedFor: string) => {
      const headers = { "x-forwarded-for": forwardedFor };
      const socket = new WebSocket(`ws://127.0.0.1:${world.gateway.port}/session`, { headers });
      sockets.push(socket);
      const opened = once(socket, "open").then(() => 101);
      const refused = once(socket, "unexpected-response").then(([, response]) => response.statusCode as number);
      return Promise.race([opened, refused]);
    };
    expect(await status("198.51.100.1")).toBe(101);
    expect(await status("203.0.113.9, 198.51.100.1")).toBe(429);
    expect(await status("198.51.100.1, 203.0.113.9")).toBe(101);
    for (const socket of sockets) socket.terminate();
  });

  it("answers what it serves, and 404 to everything else", async () => {
    await open();
    const health = await fetch(`http://127.0.0.1:${world.gateway.port}/health`);
    expect(await health.json()).toEqual({
      networkId: world.networkId,
      protocol: protocolVersion,
      runs: [{ runId: "test-run", phase: "waiting" }],
      connections: 0,
      refusals: {},
    });
    expect((await fetch(`http://127.0.0.1:${world.gateway.port}/other`)).status).toBe(404);
  });
});
