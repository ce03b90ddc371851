import { describe, expect, it } from "vitest";
import { failureOf } from "../protocol/failure.ts";
import { decodeFrame, type Frame, maxChunkBytes } from "../protocol/frames.ts";
import { createIdentity } from "../protocol/identity.ts";
import { RelayLink, type RelaySocket } from "./relay-link.ts";

/** A socket that keeps everything until the test lets it go. */
class FakeSocket implements RelaySocket {
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

describe("a relay link", () => {
  const peer = createIdentity().minerId;
  const open = () => {
    const socket = new FakeSocket();
    const link = new RelayLink(socket, { maxBufferedBytes: 2 * maxChunkBytes, onDropped: () => {} });
    return { socket, link };
  };
  const outcome = (sending: Promise<void>) =>
    sending.then(
      () => "taken",
      (error) => failureOf(error)?.code,
    );

  it("hands a slow socket no more than it may hold, and the sender waits", async () => {
    const { socket, link } = open();
    let taken = false;
    const sending = link.send(peer, "forward", new Uint8Array(10 * maxChunkBytes)).then(() => {
      taken = true;
    });
    expect(socket.frames).toHaveLength(2);
    await Promise.resolve();
    expect(taken).toBe(false);
    while (socket.drain());
    await sending;
    expect(socket.frames.map(({ offset }) => offset / maxChunkBytes)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("lets a gradient overtake in the middle of an activation, under a later number", async () => {
    const { socket, link } = open();
    const forward = link.send(peer, "forward", new Uint8Array(4 * maxChunkBytes));
    const backward = link.send(peer, "backward", new Uint8Array(10));
    while (socket.drain());
    await Promise.all([forward, backward]);
    expect(socket.frames.map(({ kind }) => kind)).toEqual(["forward", "forward", "backward", "forward", "forward"]);
    expect(socket.frames[2]?.messageNumber).toBe(((socket.frames[0]?.messageNumber ?? 0) + 1) % 2 ** 32);
  });

  it("forgets what is called off, what goes to a lost peer, and everything when the socket breaks", async () => {
    const { socket, link } = open();
    const abort = new AbortController();
    const lost: string[] = [];
    link.onPeerLost((gone) => lost.push(gone));
    const filling = link.send(createIdentity().minerId, "forward", new Uint8Array(4 * maxChunkBytes));
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
