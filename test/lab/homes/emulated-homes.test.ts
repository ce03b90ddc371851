import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { EmulatedHomes, type EmulatedHomesOptions, type HomeLine, type Namespace } from "./emulated-homes.ts";
import { takesRealTime, withRealTime } from "./real-time.ts";
import type { TrafficCalls, TrafficRequest } from "./traffic-process.ts";

const run = promisify(execFile);
const impossible = await EmulatedHomes.impossibleBecause();
const skipped = impossible === null ? "" : ` (skipped: ${impossible})`;
const line: HomeLine = { upMbps: 20, downMbps: 100, roundTripMs: 40, jitterMs: 0, lossPercent: 0 };
const unlimited: HomeLine = { upMbps: null, downMbps: null, roundTripMs: 0, jitterMs: 0, lossPercent: 0 };
/** Of a packet's 1500 bytes these are contents; IP and TCP with time stamps have the others. */
const contentsShare = 1448 / 1500;

describe.skipIf(impossible !== null)(`an emulated home${skipped}`, () => {
  const opened: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of opened.splice(0).reverse()) await close();
  });

  async function emulate(homes: readonly HomeLine[], options: Partial<EmulatedHomesOptions> = {}) {
    const emulated = await EmulatedHomes.start({ homes, seed: 1, ...options });
    opened.push(() => emulated.close());
    return emulated;
  }

  function computerAt(place: Namespace | undefined): Computer {
    if (place === undefined) throw new Error("there is no such home");
    const computer = new Computer(place);
    opened.push(() => computer.unplug());
    return computer;
  }

  async function serverOf({ server }: EmulatedHomes): Promise<Computer> {
    const computer = computerAt(server);
    await computer.call("serve");
    return computer;
  }

  it.skipIf(takesRealTime)(
    withRealTime("sends and receives as fast as its line, to 5 %, and its router counts what it carried"),
    async () => {
      const emulated = await emulate([line, line]);
      await serverOf(emulated);
      const home = computerAt(emulated.homes[0]);
      const uploadBytes = 6 << 20;
      const up = await home.call("upload", uploadBytes);
      expect(Math.abs(up.bitsPerSecond / (20e6 * contentsShare) - 1)).toBeLessThan(0.05);
      const [busy, idle] = await emulated.counters();
      expect(busy?.up.bytes).toBeGreaterThan(uploadBytes / contentsShare);
      expect(busy?.up.bytes).toBeLessThan((1.02 * uploadBytes) / contentsShare + 1500 * (busy?.up.droppedPackets ?? 0));
      expect(idle).toEqual({ up: nothing, down: nothing });
      const down = await home.call("download", 32 << 20);
      expect(Math.abs(down.bitsPerSecond / (100e6 * contentsShare) - 1)).toBeLessThan(0.05);
    },
  );

  it.skipIf(takesRealTime)(
    withRealTime("hears from the server after its line's round trip, jitter or not"),
    async () => {
      const emulated = await emulate([line, { ...line, jitterMs: 5 }]);
      await serverOf(emulated);
      for (const home of emulated.homes) {
        const shortestMs = await computerAt(home).call("roundTripMs", 20);
        expect(shortestMs).toBeGreaterThanOrEqual(line.roundTripMs);
        expect(shortestMs).toBeLessThan(line.roundTripMs + 10);
      }
    },
  );

  it("loses its share of packets, the same ones under the same seed", async () => {
    const count = 1000;
    const arrivals = await Promise.all([1, 1, 2].map((seed) => datagramsThatArrive(count, seed)));
    const [first, again, other] = arrivals;
    expect(again).toEqual(first);
    expect(other).not.toEqual(first);
    // Four standard deviations.
    for (const arrived of arrivals) expect(Math.abs(1 - arrived.length / count - 0.05)).toBeLessThan(0.028);
  });

  /** Through a line that loses 5 %. A batch at a time, so that no socket's memory is full. */
  async function datagramsThatArrive(count: number, seed: number): Promise<readonly number[]> {
    const emulated = await emulate([{ ...unlimited, lossPercent: 5 }], { seed });
    const server = await serverOf(emulated);
    const home = computerAt(emulated.homes[0]);
    const batch = 100;
    let arrived: readonly number[] = [];
    for (let first = 0; first < count; first += batch) {
      await home.call(
        "sendDatagrams",
        Array.from({ length: batch }, (_, index) => first + index),
      );
      let expected = Number.POSITIVE_INFINITY;
      while (arrived.length < expected) {
        const [counters] = await emulated.counters();
        const { packets = 0, lostPackets = 0 } = counters?.up ?? {};
        if (packets === first + batch) expected = packets - lostPackets - (counters?.down.lostPackets ?? 0);
        arrived = await server.call("arrived");
      }
    }
    return arrived;
  }

  it("passes streams on unchanged, whatever its line loses and delays", async () => {
    const emulated = await emulate([{ ...line, roundTripMs: 4, jitterMs: 1, lossPercent: 1 }]);
    await serverOf(emulated);
    const home = computerAt(emulated.homes[0]);
    for (const call of ["upload", "download"] as const) {
      const { sha256, sentSha256 } = await home.call(call, 1 << 20);
      expect(sha256).toBe(sentSha256);
    }
    const [counters] = await emulated.counters();
    expect(counters?.up.lostPackets).toBeGreaterThan(0);
    expect(counters?.down.lostPackets).toBeGreaterThan(0);
  });

  it("has the congestion control that it is to have, and so has the server", async () => {
    for (const congestionControl of ["cubic", "reno"] as const) {
      const { server, homes } = await emulate([line], { congestionControl });
      for (const { enter } of [server, ...homes]) {
        const [program = "", ...entering] = enter;
        const { stdout } = await run(program, [...entering, "cat", "/proc/sys/net/ipv4/tcp_congestion_control"]);
        expect(stdout.trim()).toBe(congestionControl);
      }
    }
  });

  it("is gone with the program that emulates it", async () => {
    const emulated = await emulate([line]);
    const [home] = emulated.homes;
    expect(home && existsSync(home.path)).toBe(true);
    await emulated.close();
    expect(home && existsSync(home.path)).toBe(false);
    await expect(emulated.counters()).rejects.toThrow("gone");
  });
});

const nothing = { bytes: 0, packets: 0, lostPackets: 0, droppedPackets: 0 };

class Computer {
  readonly #process: ChildProcess;

  constructor({ enter: [execPath = "", ...entering] }: Namespace) {
    const file = fileURLToPath(new URL("./traffic-process.ts", import.meta.url));
    this.#process = fork(file, [], { execPath, execArgv: [...entering, process.execPath] });
  }

  async call<Call extends keyof TrafficCalls>(
    call: Call,
    ...[argument]: Parameters<TrafficCalls[Call]>
  ): Promise<ReturnType<TrafficCalls[Call]>> {
    const answered = once(this.#process, "message");
    this.#process.send({ call, argument } satisfies TrafficRequest);
    const [{ result }] = await answered;
    return result;
  }

  async unplug(): Promise<void> {
    if (!this.#process.connected) return;
    const ended = once(this.#process, "exit");
    this.#process.disconnect();
    await ended;
  }
}
