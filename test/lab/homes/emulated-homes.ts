/**
 * People's homes, emulated on this computer: each a network namespace of its own behind a line with its own rates, delay, jitter and
 * loss, and one more, without limits, for the server that they all reach. A round trip between a home and the server
 * takes `roundTripMs` and what the queues add, one between two homes as long as both to the server. One program moves all packets (`home-links.cc`); everything is gone when it ends,
 * which it does together with this process, however that ends.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync } from "node:fs";
import { createInterface } from "node:readline";
import { buildHomeLinks } from "./build-home-links.ts";

/** One home's line. */
export interface HomeLine {
  /** Null: no limit. */
  readonly upMbps: number | null;
  readonly downMbps: number | null;
  readonly roundTripMs: number;
  /** Each packet takes up to so much longer, each way; none overtakes another. */
  readonly jitterMs: number;
  /** Of all packets, each way. */
  readonly lossPercent: number;
}

/** How much a router holds of what the line cannot take yet, in time: usual at homes, and much (Gettys 2012, "Bufferbloat"). */
const queueMs = 250;

/** What TCP makes of loss and queues. Most computers have `cubic`. */
export const congestionControls = ["cubic", "bbr", "reno"] as const;
export type CongestionControl = (typeof congestionControls)[number];

export interface EmulatedHomesOptions {
  readonly homes: readonly HomeLine[];
  /** The same seed loses the same packets, counted along each line and direction. */
  readonly seed: number;
  /** Of all computers, the server's included. Without it: what this computer has. */
  readonly congestionControl?: CongestionControl | undefined;
}

/** Bytes are those of IP packets of at most 1500 bytes, without the link layer. */
export interface LineCounters {
  /** That left the router's queue, whether they arrived or not. */
  readonly bytes: number;
  readonly packets: number;
  readonly lostPackets: number;
  /** For which the queue had no room. */
  readonly droppedPackets: number;
}

export interface HomeCounters {
  readonly up: LineCounters;
  readonly down: LineCounters;
}

/** A network of its own. */
export interface Namespace {
  readonly path: string;
  /** The beginning of a command that is to run in it. */
  readonly enter: readonly string[];
}

/** Of the server, as the homes reach it. */
export const serverAddress = "198.18.0.1";

const numbersPerLine = 4;

export class EmulatedHomes {
  readonly server: Namespace;
  readonly homes: readonly Namespace[];
  readonly #program: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #asked: Promise<unknown> = Promise.resolve();

  private constructor(program: ChildProcess, lines: AsyncIterator<string>, namespaces: readonly Namespace[]) {
    this.#program = program;
    this.#lines = lines;
    const [server, ...homes] = namespaces;
    if (server === undefined) throw new Error("there is no server");
    this.server = server;
    this.homes = homes;
  }

  /** Rejects where homes cannot be emulated, with the reason. */
  static async start({ homes, seed, congestionControl }: EmulatedHomesOptions): Promise<EmulatedHomes> {
    const impossible = impossibleBecause();
    if (impossible !== null) throw new Error(impossible);
    const file = await buildHomeLinks();
    const args = [String(seed), congestionControl ?? "default", ...homes.map(argumentOf)];
    const program = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"] });
    let problem = "";
    program.stderr.setEncoding("utf8").on("data", (text: string) => {
      problem += text;
    });
    const closed = once(program, "close");
    const lines = createInterface({ input: program.stdout })[Symbol.asyncIterator]();
    const { value: line = "" } = await lines.next();
    const [word, ...descriptors] = line.split(" ");
    if (word === "ready")
      return new EmulatedHomes(
        program,
        lines,
        descriptors.map((descriptor) => namespaceAt(`/proc/${program.pid}/fd/${descriptor}`)),
      );
    await closed;
    throw new Error(`homes cannot be emulated: ${problem.trim()}`);
  }

  /** Why there can be none here; null when there can. Where system calls are forbidden, only starting them tells. */
  static async impossibleBecause(): Promise<string | null> {
    try {
      const line: HomeLine = { upMbps: null, downMbps: null, roundTripMs: 0, jitterMs: 0, lossPercent: 0 };
      await (await EmulatedHomes.start({ homes: [line], seed: 1 })).close();
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Of the program that moves the packets. */
  get pid(): number | null {
    return this.#program.pid ?? null;
  }

  /** Since the start, of each home. */
  counters(): Promise<readonly HomeCounters[]> {
    const answer = this.#asked.then(async () => {
      this.#program.stdin?.write("read\n");
      const { value, done } = await this.#lines.next();
      if (done) throw new Error("the emulated homes are gone");
      return parseCounters(value);
    });
    this.#asked = answer.catch(() => undefined);
    return answer;
  }

  async close(): Promise<void> {
    const closed = once(this.#program, "close");
    this.#program.stdin?.end();
    if (this.#program.exitCode === null && this.#program.signalCode === null) await closed;
  }
}

function impossibleBecause(): string | null {
  if (process.platform !== "linux") return "homes are emulated with Linux's network namespaces";
  if (process.getuid?.() !== 0) return "only root may create network namespaces";
  try {
    accessSync("/dev/net/tun");
    return null;
  } catch {
    return "there is no /dev/net/tun";
  }
}

function argumentOf({ upMbps, downMbps, roundTripMs, jitterMs, lossPercent }: HomeLine): string {
  const bitsPerSecond = (mbps: number | null) => (mbps === null ? 0 : mbps * 1e6);
  const microseconds = (milliseconds: number) => milliseconds * 1000;
  return [
    bitsPerSecond(upMbps),
    bitsPerSecond(downMbps),
    microseconds(roundTripMs / 2),
    microseconds(jitterMs),
    lossPercent * 10_000,
    microseconds(queueMs),
  ]
    .map(Math.round)
    .join(":");
}

function namespaceAt(path: string): Namespace {
  return { path, enter: ["nsenter", `--net=${path}`, "--"] };
}

function parseCounters(line: string): readonly HomeCounters[] {
  const numbers = line.split(" ").map(Number);
  const directions: LineCounters[] = [];
  for (let at = 0; at < numbers.length; at += numbersPerLine) {
    const [bytes = 0, packets = 0, lostPackets = 0, droppedPackets = 0] = numbers.slice(at, at + numbersPerLine);
    directions.push({ bytes, packets, lostPackets, droppedPackets });
  }
  return directions.flatMap((up, index) => {
    const down = directions[index + 1];
    return index % 2 === 0 && down !== undefined ? [{ up, down }] : [];
  });
}
