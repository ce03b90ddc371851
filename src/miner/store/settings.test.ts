import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { loadSettings, resolveSettings, type SettingSources, storeSettings } from "./settings.ts";

const network = "ws://192.168.1.10:7700";

function resolve(sources: Partial<SettingSources>, onLost = unexpected) {
  return resolveSettings({ file: null, environment: {}, flags: {}, ...sources }, onLost);
}

function failing(code: string, message: string) {
  return expect.objectContaining({
    failure: expect.objectContaining({ code, message: expect.stringContaining(message) }),
  });
}

describe("settings", () => {
  it("need only a network; the rest is polite", () => {
    expect(resolve({ flags: { networkUrl: network } })).toMatchObject({
      networkUrl: network,
      threads: Math.max(1, availableParallelism() - 1),
      memoryLimitBytes: Math.floor(totalmem() * 0.75),
      maximumStages: 64,
      apiPort: 0,
      maxUploadMbps: null,
      maxDownloadMbps: null,
      onMetered: "pause",
    });
  });

  it("are taken from flags before the environment, and from there before the file", () => {
    const file = JSON.stringify({ networkUrl: network, threads: 1, name: "file", apiPort: 1 });
    const environment = { TAH_THREADS: "2", TAH_NAME: "environment" };
    const settings = resolve({ file, environment, flags: { threads: 3, name: undefined } });
    expect(settings).toMatchObject({ networkUrl: network, threads: 3, name: "environment", apiPort: 1 });
  });

  it.each([
    [{ file: '{"networkUrl":"ws://h","threads":0}' }, failing("invalid-config", "config.json: threads: ")],
    [{ file: '{"network":"ws://h"}' }, failing("invalid-config", "config.json: there is no setting network")],
    [{ file: "[]" }, failing("invalid-config", "config.json: ")],
    [{ environment: { TAH_THREADS: "many" } }, failing("invalid-config", "TAH_THREADS: ")],
    [
      { environment: { TAH_NETWORK_URL: "http://h" } },
      failing("invalid-config", "TAH_NETWORK_URL: must be an address such as"),
    ],
    [{ flags: { apiPort: "65536" } }, failing("invalid-option", "--api-port: ")],
    [{ flags: { maxUploadMbps: 0 } }, failing("invalid-option", "--max-upload-mbps: is at least 0.1")],
    [{ environment: { TAH_MAX_DOWNLOAD_MBPS: "fast" } }, failing("invalid-config", "TAH_MAX_DOWNLOAD_MBPS: ")],
    [{ environment: { TAH_ON_METERED: "maybe" } }, failing("invalid-config", "TAH_ON_METERED: ")],
    [{ flags: { networkUrl: "nonsense" } }, failing("invalid-option", "--network: ")],
    [{}, failing("invalid-config", "no network is named")],
  ])("name what is wrong in %j", (sources, failure) => {
    expect(() => resolve(sources)).toThrow(failure);
  });

  it("lift a limit that an earlier source has", () => {
    const file = JSON.stringify({ networkUrl: network, maxUploadMbps: 5, maxDownloadMbps: 50 });
    const environment = { TAH_MAX_UPLOAD_MBPS: "2.5", TAH_MAX_DOWNLOAD_MBPS: "none" };
    expect(resolve({ file, environment })).toMatchObject({ maxUploadMbps: 2.5, maxDownloadMbps: null });
    expect(resolve({ file, flags: { maxUploadMbps: "none" } })).toMatchObject({ maxUploadMbps: null });
  });

  it("remember what was changed beside what a person wrote, and touch nothing that they cannot read", () => {
    const folder = mkdtempSync(join(tmpdir(), "tah-settings-"));
    const file = join(folder, "config.json");
    writeFileSync(file, JSON.stringify({ networkUrl: network, name: "farm 7", maxUploadMbps: 5 }));
    storeSettings(folder, { maxUploadMbps: null, onMetered: "allow" });
    const remembered = { networkUrl: network, name: "farm 7", maxUploadMbps: null, onMetered: "allow" };
    expect(loadSettings(folder, {}, unexpected, {})).toMatchObject(remembered);
    writeFileSync(file, "{ torn");
    expect(() => storeSettings(folder, { maxUploadMbps: 1 })).toThrow(failing("invalid-config", "config.json"));
    expect(readFileSync(file, "utf8")).toBe("{ torn");
    rmSync(folder, { recursive: true });
  });

  it("pass over a file that was torn, and say so", () => {
    const lost: string[] = [];
    const settings = resolve({ file: '{"threads": 7', flags: { networkUrl: network } }, (text) => lost.push(text));
    expect(settings.threads).not.toBe(7);
    expect(lost).toEqual([expect.stringContaining("config.json")]);
  });

  it("are read from config.json in the state folder", () => {
    const folder = mkdtempSync(join(tmpdir(), "tah-settings-"));
    writeFileSync(join(folder, "config.json"), JSON.stringify({ networkUrl: network, name: "farm 7" }));
    expect(loadSettings(folder, {}, unexpected, {})).toMatchObject({ networkUrl: network, name: "farm 7" });
    rmSync(folder, { recursive: true });
  });
});

function unexpected(text: string): void {
  throw new Error(`nothing was lost, and yet: ${text}`);
}
