import { describe, expect, it } from "vitest";
import { FakeClock } from "../miner/session/fake-clock.ts";
import { failureOf } from "../protocol/failure.ts";
import { decodeFrame, type Frame, maxChunkBytes } from "../protocol/frames.ts";
import { createIdentity } from "../protocol/identity.ts";
import { FrameLink, type FrameSocket } from "./frame-link.ts";
import { Reassembly } from "./reassembly.ts";
import { Traffic, type TrafficLimits } from "./traffic/traffic.ts";

/** A socket that keeps everything until the test lets it go. */
class FakeSocket implements FrameSocket {
  bufferedAmount = 0;
  readonly frames: Frame[] = [];
  readonly #unsent: { readonly bytes: number; readonly done: (error?: Error) => void }[] = [];

  send(bytes: Uint8Array, done: (error?: Error) => void): void {
    this.bufferedAmount += bytes.length;
    this.frames.push(decodeFrame(bytes));
    this.#unsent.push({ bytes: bytes.length, done });
  }

  /** One chunk leaves, or fails to. */
  drain(error?: Error): boolean {
    const sent = this.#unsent.shift();
    this.bufferedAmount -= sent?.bytes ?? 0;
    sent?.done(error);
    return sent !== undefined;
  }
}

describe("a frame link", () => {
  const peer = createIdentity().minerId;
  const open = (limits: TrafficLimits = { upload: null, download: null }) => {
    const clock = new FakeClock();
    const traffic = new Traffic(clock);
    traffic.limit(limits);
    const socket = new FakeSocket();
    const link = new FrameLink(socket, { pacing: traffic, reassembly: new Reassembly({ onDropped: () => {} }) });
    return { clock, traffic, socket, link };
  };
  const outcome = (sending: Promise<void>) =>
    sending.then(
      () => "taken",
      (error) => failureOf(error)?.code,
    );

  it("hands a slow socket no more than it may hold, and the sender waits", async () => {
    const { traffic, socket, link } = open();
    const { chunkBytes, maxBufferedBytes } = traffic;
    let taken = false;
    const sending = link.send(peer, "forward", new Uint8Array(10 * chunkBytes)).then(() => {
      taken = true;
    });
    expect(socket.frames).toHaveLength(maxBufferedBytes / chunkBytes);
    await Promise.resolve();
    expect(taken).toBe(false);
    while (socket.drain());
    await sending;
    expect(socket.frames.map(({ offset }) => offset / chunkBytes)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("lets a gradient overtake in the middle of an activation, under a later number", async () => {
    const { traffic, socket, link } = open();
    const forward = link.send(peer, "forward", new Uint8Array(6 * traffic.chunkBytes));
    const backward = link.send(peer, "backward", new Uint8Array(10));
    const held = socket.frames.length;
    while (socket.drain());
    await Promise.all([forward, backward]);
    expect(socket.frames.map(({ kind }) => kind)).toEqual(
      Array.from({ length: 7 }, (_, index) => (index === held ? "backward" : "forward")),
    );
    expect(socket.frames[held]?.messageNumber).toBe(((socket.frames[0]?.messageNumber ?? 0) + 1) % 2 ** 32);
  });

  it("sends no faster than it may, and what is urgent first", async () => {
    const bytesPerSecond = 1e6;
    const { clock, socket, link } = open({ upload: bytesPerSecond, download: null });
    const forward = link.send(peer, "forward", new Uint8Array(bytesPerSecond));
    clock.advance(500);
    const backward = link.send(peer, "backward", new Uint8Array(10));
    while (socket.drain());
    const sent = () => socket.frames.reduce((sum, { chunk }) => sum + chunk.length, 0) / bytesPerSecond;
    expect(sent()).toBeLessThan(0.6);
    clock.advance(50);
    await backward;
    for (let ms = 0; ms < 2000; ms += 10) {
      clock.advance(10);
      while (socket.drain());
    }
    await forward;
    expect(socket.frames.at(-1)?.kind).toBe("forward");
  });

  it("forgets what is called off, what goes to a lost peer, and everything when the socket breaks", async () => {
    const { socket, link } = open();
    const abort = new AbortController();
    const lost: string[] = [];
    link.onPeerLost((gone) => lost.push(gone));
    const filling = link.send(createIdentity().minerId, "forward", new Uint8Array(maxChunkBytes * 4));
    const calledOff = link.send(peer, "forward", new Uint8Array(10), { signal: abort.signal });
    const toLost = link.send(peer, "backward", new Uint8Array(10));
    abort.abort();
    expect(await outcome(calledOff)).toBe("cancelled");
    link.peerUndeliverable(peer);
    expect(await outcome(toLost)).toBe("unreachable");
    expect(lost).toEqual([peer]);
    socket.drain(new Error("broken pipe"));
    expect(await outcome(filling)).toBe("unreachable");
    expect(await outcome(link.send(peer, "flush", new Uint8Array(0)))).toBe("unreachable");
    expect(socket.frames.every((frame) => frame.peer !== peer)).toBe(true);
  });
});
