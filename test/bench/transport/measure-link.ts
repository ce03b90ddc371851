/** One link between two processes, and what it carries and costs. */
import { setTimeout } from "node:timers/promises";
import { createIdentity } from "../../../src/protocol/identity.ts";
import { MemoryNetwork } from "../../../src/transport/memory-link.ts";
import { EmulatedHomes, type LineCounters, serverAddress } from "../../lab/homes/emulated-homes.ts";
import { AskedProcess } from "../../lab/links/asked-process.ts";
import type { EndCalls } from "../../lab/links/end-process.ts";
import { Echoes, type Sent, sendFor } from "../../lab/links/send-for.ts";
import { rounded } from "../shared/report.ts";

export interface LinkCase {
  readonly link: "memory" | "relay" | "direct";
  /** Between the two ends, by way of emulated homes; null: both on this computer's loopback. */
  readonly line: {
    readonly roundTripMs: number;
    readonly lossPercent: number;
    readonly upMbps: number | null;
    readonly downMbps: number | null;
  } | null;
}

export interface LinkFigures {
  readonly megabytesPerSecond: number;
  /** Of both ends and, where it passes the bytes on, the gateway. */
  readonly cpuSecondsPerGigabyte: number;
  /** Of a kilobyte sent behind the others, there and back. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Until messages went directly; null: they do not. */
  readonly directAfterMs: number | null;
  /** Of the sender's line; null without emulated homes. */
  readonly uplink: UplinkFigures | null;
}

export interface UplinkFigures {
  /** That left the router's queue, headers and all, while there was something to send. */
  readonly mbps: number;
  /** Of the packets that came to it, for which it had no room. */
  readonly droppedPercent: number;
  /** By which what the sender shows as sent differs from what left the queue. */
  readonly shownDifferencePercent: number;
}

const settleMs = 20;
const meetMs = 10_000;

export async function measureLink(linkCase: LinkCase, seconds: number, seed: number): Promise<LinkFigures> {
  if (linkCase.link === "memory") return measureMemory(seconds);
  const { link, line } = linkCase;
  const ends: (() => Promise<void>)[] = [];
  try {
    // A packet crosses two lines, one of them up and one down, and so does its answer.
    const home = line && {
      upMbps: line.upMbps,
      downMbps: line.downMbps,
      roundTripMs: line.roundTripMs / 2,
      jitterMs: 0,
      lossPercent: line.lossPercent / 2,
    };
    const homes = home && (await EmulatedHomes.start({ homes: [home, home], seed }));
    if (homes !== null) ends.push(() => homes.close());
    const host = homes === null ? "127.0.0.1" : serverAddress;
    const gateway = new AskedProcess("./gateway-process.ts", [host], homes?.server.enter);
    ends.push(() => gateway.end());
    const networkUrl = String(await gateway.greeting);
    const [sender, receiver] = [0, 1].map((index) => {
      const end = new AskedProcess("./end-process.ts", [], homes?.homes[index]?.enter);
      ends.push(() => end.end());
      return <Call extends keyof EndCalls>(call: Call, argument?: Parameters<EndCalls[Call]>[0]) =>
        end.ask(call, argument) as Promise<ReturnType<EndCalls[Call]>>;
    });
    if (sender === undefined || receiver === undefined) throw new Error("a link has two ends");
    const [from, to] = await Promise.all([sender, receiver].map((ask) => ask("open", { networkUrl, link })));
    if (from === undefined || to === undefined) throw new Error("a link has two ends");
    const [met] = await Promise.all([
      sender("meet", { peer: to, withinMs: meetMs }),
      receiver("meet", { peer: from, withinMs: meetMs }),
    ]);
    const directAfterMs = met?.directAfterMs ?? null;
    if (link === "direct" && directAfterMs === null) throw new Error("the ends do not reach each other directly");

    const processorSeconds = async () => {
      const parts = [sender("processorSeconds"), receiver("processorSeconds")];
      if (link === "relay") parts.push(gateway.ask("processorSeconds") as Promise<number>);
      return (await Promise.all(parts)).reduce((sum, one) => sum + one, 0);
    };
    const uplink = async () => {
      const [home] = (await homes?.counters()) ?? [];
      return home && { line: home.up, shownBytes: (await sender("traffic")).sentBytes };
    };
    const before = await uplink();
    const beganSeconds = await processorSeconds();
    const beganAtMs = performance.now();
    const sent = await sender("send", { to, seconds });
    let receivedBytes = 0;
    while (receivedBytes < sent.bytes) {
      receivedBytes += await receiver("receivedBytes");
      await setTimeout(settleMs);
    }
    const elapsed = (performance.now() - beganAtMs) / 1000;
    const used = (await processorSeconds()) - beganSeconds;
    const after = await uplink();
    return {
      ...figures(sent, elapsed, used),
      directAfterMs: directAfterMs && rounded(directAfterMs, 0),
      uplink: before && after ? uplinkFigures(before, after, elapsed) : null,
    };
  } finally {
    for (const end of ends.reverse()) await end();
  }
}

async function measureMemory(seconds: number): Promise<LinkFigures> {
  const network = new MemoryNetwork();
  const [from, to] = [createIdentity().minerId, createIdentity().minerId];
  const [sender, receiver] = [network.link(from), network.link(to)];
  const echoes = new Echoes();
  receiver.onMessage(({ kind, body }) => {
    if (kind === "answer") void receiver.send(from, "flush", body);
  });
  sender.onMessage(({ body }) => echoes.returned(body));
  const before = process.cpuUsage();
  const sent = await sendFor(sender, to, seconds, echoes);
  const { user, system } = process.cpuUsage(before);
  return { ...figures(sent, sent.seconds, (user + system) / 1e6), directAfterMs: null, uplink: null };
}

function figures(
  { bytes, roundTripsMs }: Sent,
  seconds: number,
  used: number,
): Omit<LinkFigures, "directAfterMs" | "uplink"> {
  const sorted = roundTripsMs.toSorted((a, b) => a - b);
  const quantile = (share: number) => rounded(sorted[Math.floor(share * sorted.length)] ?? Number.NaN, 1);
  return {
    megabytesPerSecond: rounded(bytes / 1e6 / seconds, 2),
    cpuSecondsPerGigabyte: rounded(used / (bytes / 1e9), 2),
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
  };
}

interface UplinkCounts {
  readonly line: LineCounters;
  readonly shownBytes: number;
}

function uplinkFigures(before: UplinkCounts, after: UplinkCounts, seconds: number): UplinkFigures {
  const counted = (count: keyof LineCounters) => after.line[count] - before.line[count];
  const [bytes, dropped] = [counted("bytes"), counted("droppedPackets")];
  return {
    mbps: rounded((8 * bytes) / 1e6 / seconds, 2),
    droppedPercent: rounded((100 * dropped) / (counted("packets") + dropped), 2),
    shownDifferencePercent: rounded(100 * ((after.shownBytes - before.shownBytes) / bytes - 1), 2),
  };
}
