import { describe, expect, it } from "vitest";
import { defaultDevice, meteredOfBus, meteredOfNmcli, meteredOfWindows, probeMetered } from "./metered.ts";

const routes = `Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
wlan0	00000000	0102A8C0	0003	0	0	600	00000000	0	0	0
eth0	00000000	0101A8C0	0003	0	0	100	00000000	0	0	0
eth0	0001A8C0	00000000	0001	0	0	100	00FFFFFF	0	0	0
`;

const network = "ws://192.0.2.1:7700";
const missing = () => Promise.reject(new Error("spawn ENOENT"));

describe("whether the connection is metered", () => {
  it.each([
    ["u 0\n", null],
    ["u 1\n", true],
    ["u 2\n", false],
    ["u 3\n", true],
    ["u 4\n", false],
    ["", null],
    ["Failed to get property Metered on interface org.freedesktop.NetworkManager: Unit not found.\n", null],
  ])("is read from NetworkManager's property: %j", (output, metered) => {
    expect(meteredOfBus(output)).toBe(metered);
  });

  it.each([
    ["yes\n", true],
    ["no\n", false],
    ["yes (guessed)\n", true],
    ["no (guessed)\n", false],
    ["unknown\n", null],
    ["", null],
  ])("is read from nmcli: %j", (output, metered) => {
    expect(meteredOfNmcli(output)).toBe(metered);
  });

  it.each([
    ["Unrestricted\r\n", false],
    ["Fixed\r\n", true],
    ["Variable\r\n", true],
    ["Unknown\r\n", null],
    ["You cannot call a method on a null-valued expression.\r\n", null],
  ])("is read from Windows' cost of the connection: %j", (output, metered) => {
    expect(meteredOfWindows(output)).toBe(metered);
  });

  it("is asked of the device behind which everything lies", async () => {
    expect(defaultDevice(routes)).toBe("eth0");
    expect(defaultDevice(routes.split("\n").slice(0, 1).join("\n"))).toBeNull();
    const asked: string[] = [];
    const run = (program: string, parameters: readonly string[]) => {
      asked.push([program, ...parameters].join(" "));
      return program === "nmcli" ? Promise.resolve("yes\n") : missing();
    };
    expect(await probeMetered(network, "linux", run, () => Promise.resolve(routes))).toBe(true);
    expect(asked).toEqual([expect.stringContaining("busctl"), "nmcli -g GENERAL.METERED device show eth0"]);
  });

  it("is not known where nobody answers, and on macOS", async () => {
    expect(await probeMetered(network, "linux", missing, missing)).toBeNull();
    expect(await probeMetered(network, "win32", missing, missing)).toBeNull();
    expect(await probeMetered(network, "darwin", missing, missing)).toBeNull();
  });

  it.each(["ws://127.0.0.1:7700", "ws://localhost:7700", "ws://[::1]:7700"])("does not matter to %s", async (here) => {
    expect(await probeMetered(here, "linux", () => Promise.resolve("u 1\n"))).toBeNull();
    expect(await probeMetered(network, "linux", () => Promise.resolve("u 1\n"))).toBe(true);
  });
});
