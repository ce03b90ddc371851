/**
 * An upload's bytes as they come, but not packet by packet: over a home's line each read would bring a few kilobytes, and cost as much
 * as one of many. The computer's receive buffer gathers them meanwhile, and no upload takes longer by it.
 */
import type { IncomingMessage } from "node:http";
import { setTimeout as pause } from "node:timers/promises";

/** At once. Every system's receive buffer holds more, so that the sender need not stop. */
const gatheredBytes = 32 << 10;
/** What comes more slowly than that is read in smaller pieces: well under the time in which a sender doubts that it is heard. */
const longestRestMs = 20;
/** Below, a timer costs what it saves: more than 130 Mbit/s come in large pieces by themselves. */
const shortestRestMs = 2;

/** Rejects as reading the request does. The connection stays open when its reader stops early. */
export async function* gatheredBody(request: IncomingMessage): AsyncGenerator<Uint8Array> {
  const { socket } = request;
  const announcedBytes = Number(request.headers["content-length"] ?? Number.POSITIVE_INFINITY);
  const startMs = performance.now();
  let receivedBytes = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Uint8Array>) {
    receivedBytes += chunk.length;
    yield chunk;
    const bytesPerMs = receivedBytes / (performance.now() - startMs);
    const wantedBytes = Math.min(gatheredBytes, announcedBytes - receivedBytes);
    const restMs = Math.min(longestRestMs, Math.floor(wantedBytes / bytesPerMs));
    if (restMs < shortestRestMs) continue;
    socket.pause();
    await pause(restMs);
    socket.resume();
  }
}
