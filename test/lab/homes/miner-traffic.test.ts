/** What a miner counts, keeps to and measures, against the counters of the line that it works behind. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { EmulatedHomes, type HomeLine, type Namespace } from "./emulated-homes.ts";
import type { MinerCalls, MinerRequest } from "./miner-process.ts";
import { takesRealTime, withRealTime } from "./real-time.ts";

const impossible = await EmulatedHomes.impossibleBecause();
const skipped = impossible === null ? "" : ` (skipped: ${impossible})`;
const upMbps = 20;
const line: HomeLine = { upMbps, downMbps: 100, roundTripMs: 40, jitterMs: 0, lossPercent: 0 };
const bytesPerMegabit = 125_000;

describe.skipIf(impossible !== null || takesRealTime)(withRealTime(`a miner behind a home's line${skipped}`), () => {
  const opened: (() => unknown)[] = [];
  afterEach(async () => {
    for (const close of opened.splice(0).reverse()) await close();
  });

  async function openHome(): Promise<Readonly<{ emulated: EmulatedHomes; server: MinerAt; home: MinerAt }>> {
    const emulated = await EmulatedHomes.start({ homes: [line], seed: 1 });
    opened.push(() => emulated.close());
    const [server, home] = [emulated.server, emulated.homes[0]].map((place) => {
      const miner = new MinerAt(place);
      opened.push(() => miner.close());
      return miner;
    });
    if (server === undefined || home === undefined) throw new Error("there is no such place");
    await server.call("serve");
    return { emulated, server, home };
  }

  async function lineBytes(emulated: EmulatedHomes): Promise<{ readonly up: number; readonly down: number }> {
    const [counters] = await emulated.counters();
    return { up: counters?.up.bytes ?? 0, down: counters?.down.bytes ?? 0 };
  }

  async function untilSent(emulated: EmulatedHomes, bytes: number): Promise<number> {
    for (;;) {
      const { up } = await lineBytes(emulated);
      if (up >= bytes) return up;
    }
  }

  /** Until nothing is on its way any longer: what the sockets took last. */
  async function settled(emulated: EmulatedHomes): Promise<void> {
    for (let quietSinceMs = performance.now(), before = await lineBytes(emulated); ; ) {
      const now = await lineBytes(emulated);
      if (now.up !== before.up || now.down !== before.down) quietSinceMs = performance.now();
      if (performance.now() - quietSinceMs > 500) return;
      before = now;
    }
  }

  it.each([
    ["small messages", "up", async (home: MinerAt) => home.call("sendSmallFrames", 1000)],
    ["frames", "up", async (home: MinerAt) => home.call("sendFrames", 8 << 20)],
    ["stored blobs", "up", async (home: MinerAt) => home.call("store", 8 << 20)],
    ["fetched blobs", "down", async (home: MinerAt) => home.call("fetch")],
  ] as const)("counts %s as its line does, to 2 %%", async (_what, direction, carry) => {
    const { emulated, home } = await openHome();
    await home.call("connect", { upload: null, download: null });
    await carry(home);
    await settled(emulated);
    const { totals } = await home.call("figures");
    const onLine = await lineBytes(emulated);
    const counted = direction === "up" ? totals.sentBytes : totals.receivedBytes;
    expect(Math.abs(counted / onLine[direction] - 1)).toBeLessThan(0.02);
    const both = totals.sentBytes + totals.receivedBytes;
    expect(Math.abs(both / (onLine.up + onLine.down) - 1)).toBeLessThan(0.02);
  });

  it("keeps to its cap, to 5 %", async () => {
    const { emulated, home } = await openHome();
    await home.call("connect", { upload: 5 * bytesPerMegabit, download: null });
    void home.call("sendFrames", 8 << 20).catch(() => undefined);
    const beganAtMs = performance.now();
    const before = await untilSent(emulated, 500_000);
    const fromMs = performance.now() - beganAtMs;
    const after = await untilSent(emulated, 4_000_000);
    const seconds = (performance.now() - beganAtMs - fromMs) / 1000;
    const bytesPerSecond = (after - before) / seconds;
    expect(Math.abs(bytesPerSecond / (5 * bytesPerMegabit) - 1)).toBeLessThan(0.05);
  });

  it("fills its line with a blob, and leaves it to frames when there are any", async ({ annotate }) => {
    const { server, home } = await openHome();
    await home.call("connect", { upload: null, download: null });
    /** Of what the line carries, once what came before has settled. */
    const sharesOfLine = async () => {
      await pause(4000);
      const [before, fromMs] = [await server.call("arrived"), performance.now()];
      await pause(8000);
      const after = await server.call("arrived");
      const carried = (upMbps * bytesPerMegabit * (performance.now() - fromMs)) / 1000;
      return { frames: (after.frames - before.frames) / carried, blobs: (after.blobs - before.blobs) / carried };
    };
    await home.call("begin", { call: "store", bytes: 200 << 20 });
    const alone = await sharesOfLine();
    await home.call("begin", { call: "sendFrames", bytes: 100 << 20 });
    const beside = await sharesOfLine();
    await annotate(
      `shares of the line: a blob alone ${JSON.stringify(alone)}, beside frames ${JSON.stringify(beside)}`,
    );
    expect(beside.frames).toBeGreaterThan(0.8);
    expect(alone.blobs).toBeGreaterThan(0.7);
  }, 60_000);

  it("measures what its line carries", async () => {
    const { home } = await openHome();
    await home.call("connect", { upload: null, download: null });
    await home.call("sendSmallFrames", 100);
    await home.call("sendFrames", 12 << 20);
    await home.call("fetch");
    const { link } = await home.call("figures");
    // More than the line carries can never be; how near a computer comes to it depends on how busy it is.
    const up = (link.upBytesPerSecond ?? 0) / (upMbps * bytesPerMegabit);
    expect(up).toBeGreaterThan(0.7);
    expect(up).toBeLessThan(1.05);
    const down = (link.downBytesPerSecond ?? 0) / (100 * bytesPerMegabit);
    expect(down).toBeGreaterThan(0.2);
    expect(down).toBeLessThan(1.05);
    expect(link.roundTripMs).toBeGreaterThanOrEqual(line.roundTripMs);
    expect(link.roundTripMs).toBeLessThan(line.roundTripMs + 20);
  });
});

class MinerAt {
  readonly #process: ChildProcess;
  #asked: Promise<unknown> = Promise.resolve();

  constructor(place: Namespace | undefined) {
    const [program = "", ...entering] = place?.enter ?? [];
    const file = fileURLToPath(new URL("./miner-process.ts", import.meta.url));
    this.#process = fork(file, [], { execPath: program, execArgv: [...entering, process.execPath] });
  }

  call<C extends keyof MinerCalls>(
    call: C,
    argument: Parameters<MinerCalls[C]>[0] | null = null,
  ): Promise<ReturnType<MinerCalls[C]>> {
    const answer = this.#asked.then(async () => {
      const request: MinerRequest = { call, argument };
      this.#process.send(request);
      const [{ result }] = (await once(this.#process, "message")) as [{ result: ReturnType<MinerCalls[C]> }];
      return result;
    });
    this.#asked = answer.catch(() => undefined);
    return answer;
  }

  close(): void {
    this.#process.kill();
  }
}
