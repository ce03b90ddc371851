/** The gateway behind TLS, with certificates that no authority has signed (`certificates/`, made for these tests alone). */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { copyFileSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:tls";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { measureLine } from "../../src/miner/line/measure-line.ts";
import { systemClock } from "../../src/miner/session/clock.ts";
import { askHealth } from "../../src/miner/session/network-health.ts";
import { observeRuns } from "../../src/miner/session/observe.ts";
import { Session } from "../../src/miner/session/session.ts";
import { Gateway } from "../../src/network/gateway/gateway.ts";
import type { TlsFiles } from "../../src/network/gateway/tls-files.ts";
import { type Failure, failureOf } from "../../src/protocol/failure.ts";
import { createIdentity } from "../../src/protocol/identity.ts";
import { BlobClient } from "../../src/transport/blobs/blob-client.ts";
import { agentFor } from "../../src/transport/pinned-agent.ts";
import { Traffic } from "../../src/transport/traffic/traffic.ts";
import { temporaryFolder } from "../contract/local-api-world.ts";
import { type GatewayWorld, openGatewayWorld } from "./gateway-world.ts";

const certificates = join(import.meta.dirname, "certificates");
const fingerprintOf = (name: "first" | "second") =>
  new X509Certificate(readFileSync(join(certificates, `${name}.crt`))).fingerprint256.replaceAll(":", "").toLowerCase();

describe("a network with a certificate of its own", { timeout: 60_000 }, () => {
  let folder: string;
  let world: GatewayWorld;
  const install = (name: "first" | "second") => {
    for (const kind of ["key", "crt"]) copyFileSync(join(certificates, `${name}.${kind}`), join(folder, `tls.${kind}`));
  };
  const url = () => `wss://127.0.0.1:${world.gateway.port}`;
  const addressWith = (name: "first" | "second") => `${url()}#certificate=${fingerprintOf(name)}`;
  const failureAt = (address: string): Promise<Failure | undefined> =>
    observeRuns(address).then(
      () => undefined,
      (error: unknown) => failureOf(error),
    );

  beforeEach(async () => {
    folder = temporaryFolder();
    install("first");
    world = await openGatewayWorld({ tls: { certificate: join(folder, "tls.crt"), key: join(folder, "tls.key") } });
  });
  afterEach(async () => {
    await world.close();
    rmSync(folder, { recursive: true });
  });

  it("is reached by who has its fingerprint, for sessions and for blobs", async () => {
    const ref = await world.blobs.put(Buffer.from("weights"));
    const agent = agentFor(fingerprintOf("first"));
    const traffic = new Traffic(systemClock);
    const credentials = { identity: createIdentity(), name: "miner", role: "miner" } as const;
    const opened = Promise.withResolvers<void>();
    const session = new Session(
      { url: url(), agent, credentials, clock: systemClock, traffic, log: () => undefined },
      { opened: () => opened.resolve(), message: () => undefined, lost: (failure) => opened.reject(failure) },
    );
    session.open();
    await opened.promise;
    const cacheFolder = join(folder, "blobs");
    const token = () => session.blobToken;
    const blobUrl = url().replace("wss", "https");
    const blobs = new BlobClient({ url: blobUrl, agent, token, cacheFolder, maxCacheBytes: 1 << 20, traffic });
    expect(Buffer.from(await blobs.get(ref)).toString()).toBe("weights");
    session.close();
    agent?.destroy();
  });

  it("is not believed by who has another fingerprint, or none, or speaks without TLS", async () => {
    expect((await failureAt(addressWith("second")))?.code).toBe("bad-signature");
    expect(await failureAt(url())).toMatchObject({
      code: "bad-signature",
      action: expect.stringContaining("#certificate="),
    });
    expect((await failureAt(url().replace("wss", "ws")))?.code).toBe("unreachable");
  });

  it("is measured under its fingerprint, which is no secret", async () => {
    const measure = (network: string) =>
      measureLine({
        network,
        limits: { upload: null, download: null },
        withoutRates: "not-asked",
        direct: true,
        onProgress: () => undefined,
        signal: new AbortController().signal,
      });
    const line = await measure(`${addressWith("first")},invitation=secret`);
    expect(line).toMatchObject({ network: addressWith("first"), way: "relayed", failure: null });
    expect(line.roundTripMs).toBeGreaterThan(0);
    expect(await measure(addressWith("second"))).toMatchObject({ way: "blocked", failure: { code: "bad-signature" } });
    expect((await askHealth(addressWith("first"))).networkId).toBe(world.networkId);
    await expect(askHealth(addressWith("second"))).rejects.toSatisfy(
      (error) => failureOf(error)?.code === "bad-signature",
    );
  });

  it("tells an address that has too many connections so, over TLS as well", async () => {
    await world.close();
    const tls = { certificate: join(folder, "tls.crt"), key: join(folder, "tls.key") };
    world = await openGatewayWorld({ tls, limits: { connectionsPerAddress: 1 } });
    const address = addressWith("first");
    const first = connect({ port: world.gateway.port, host: "127.0.0.1", rejectUnauthorized: false });
    await once(first, "secureConnect");
    expect((await failureAt(address))?.code).toBe("too-many-connections");
    first.destroy();
  });

  it("takes a renewed certificate over while it runs, and keeps the old one where the new is broken", async () => {
    install("second");
    await vi.waitFor(async () => expect(await failureAt(addressWith("second"))).toBeUndefined(), { timeout: 20_000 });
    copyFileSync(join(certificates, "first.crt"), join(folder, "tls.crt"));
    await vi.waitFor(() => expect(world.logged.join("\n")).toContain("the certificate stays as it was"), {
      timeout: 20_000,
    });
    expect(await failureAt(addressWith("second"))).toBeUndefined();
  });

  it("does not begin without a certificate and its key", async () => {
    const { runs, blobs, admission, identity } = world;
    const owners = new Set<never>();
    const failureWith = async (tls: TlsFiles) => {
      const options = { host: "127.0.0.1", port: 0, identity, runs, blobs, admission, owners, tls };
      const begun = Gateway.listen({ ...options, clock: () => 0, log: () => undefined });
      return failureOf(await begun.catch((error: unknown) => error))?.code;
    };
    const files = { certificate: join(certificates, "first.crt"), key: join(certificates, "second.key") };
    expect(await failureWith(files)).toBe("invalid-option");
    expect(await failureWith({ ...files, key: join(folder, "none") })).toBe("file-unreadable");
  });
});
