import { mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type DaemonWorld, startDaemonWorld, temporaryFolder } from "../../test/contract/local-api-world.ts";
import {
  answeringDaemonIn,
  demosFolderName,
  findAnsweringDaemon,
  liveDaemonIn,
  ownMinerFolderName,
} from "./find-daemon.ts";
import { writeDaemonAddress } from "./store/daemon-address.ts";

/** What a killed daemon leaves behind; its process id is another program's by now: this one's. */
function leaveAddress(folder: string, port: number): void {
  const token = "t".repeat(43);
  writeDaemonAddress(folder, { url: `http://127.0.0.1:${port}`, token, pid: process.pid, version: "0.1.0" });
}

describe("the address of a killed daemon whose process id belongs to another program", () => {
  let folder: string;
  let world: DaemonWorld | undefined;
  const stranger = createServer((_request, response) => response.writeHead(404).end());

  beforeEach(async () => {
    folder = temporaryFolder();
    await new Promise<void>((resolve) => stranger.listen(0, "127.0.0.1", resolve));
  });
  afterEach(async () => {
    await world?.close();
    world = undefined;
    if (stranger.listening) await new Promise((resolve) => stranger.close(resolve));
    rmSync(folder, { recursive: true, force: true });
  });

  it("is not believed where nothing listens", async () => {
    const { port } = stranger.address() as AddressInfo;
    await new Promise((resolve) => stranger.close(resolve));
    leaveAddress(folder, port);
    expect(liveDaemonIn(folder)).toBeDefined();
    expect(await answeringDaemonIn(folder)).toBeUndefined();
    expect(await findAnsweringDaemon(folder)).toBeUndefined();
  });

  it("is not believed where another program listens", async () => {
    leaveAddress(folder, (stranger.address() as AddressInfo).port);
    expect(await answeringDaemonIn(folder)).toBeUndefined();
  });

  it("does not hide a daemon that answers", async () => {
    leaveAddress(folder, (stranger.address() as AddressInfo).port);
    const stateFolder = join(folder, demosFolderName, "tiny-1x1", ownMinerFolderName);
    mkdirSync(stateFolder, { recursive: true });
    world = await startDaemonWorld({ stateFolder });
    expect(await findAnsweringDaemon(folder)).toEqual(world.daemon.address);
  });
});
