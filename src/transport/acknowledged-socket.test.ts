import { describe, expect, it } from "vitest";
import { FakeClock } from "../miner/session/fake-clock.ts";
import { failureOf } from "../protocol/failure.ts";
import { decodeFrame } from "../protocol/frames.ts";
import { createIdentity } from "../protocol/identity.ts";
import { AcknowledgedSocket, type PingedSocket } from "./acknowledged-socket.ts";
import { answerTo } from "./acknowledgement.ts";
import { FrameLink } from "./frame-link.ts";
import { Reassembly } from "./reassembly.ts";
import { LineWindow } from "./traffic/line-window.ts";
import { Traffic } from "./traffic/traffic.ts";

/** Takes all that it is given at once, as the system does, and keeps the pings until the test answers them. */
class FakeWebSocket implements PingedSocket {
  readonly bufferedAmount = 0;
  readonly sent: Uint8Array[] = [];
  readonly pings: Buffer[] = [];
  failure: Error | undefined;

  send(bytes: Uint8Array, done: (error?: Error) => void): void {
    this.sent.push(bytes);
    done(this.failure);
  }

  ping(payload: Uint8Array): void {
    this.pings.push(Buffer.from(payload));
  }
}

describe("an acknowledged socket", () => {
  const peer = createIdentity().minerId;
  const open = () => {
    const clock = new FakeClock();
    const traffic = new Traffic(clock);
    const web = new FakeWebSocket();
    const socket = new AcknowledgedSocket(web, new LineWindow(clock), clock);
    const waited: boolean[] = [];
    const pacing = {
      get chunkBytes() {
        return socket.chunkBytes;
      },
      get maxBufferedBytes() {
        return socket.maxBufferedBytes;
      },
      upload: traffic.upload,
      wrote: (_bytes: number, hasWaited: boolean) => waited.push(hasWaited),
    };
    const link = new FrameLink(socket, { pacing, reassembly: new Reassembly({ onDropped: () => {} }) });
    const answer = (afterMs = 50) => {
      clock.advance(afterMs);
      for (const ping of web.pings.splice(0, 1)) socket.returned(answerTo(ping, clock.nowMs()));
    };
    return { clock, web, socket, link, waited, answer };
  };
  const kindsOf = ({ sent }: FakeWebSocket) => sent.map((bytes) => decodeFrame(bytes).kind);

  it("lets what is urgent overtake what the system would have taken", async () => {
    const { web, socket, link, answer } = open();
    const bulk = link.send(peer, "exchange", new Uint8Array(1 << 20));
    const before = web.sent.length;
    expect(socket.bufferedAmount).toBeGreaterThanOrEqual(socket.maxBufferedBytes);
    const urgent = link.send(peer, "backward", new Uint8Array(100));
    expect(web.sent).toHaveLength(before);
    answer();
    await urgent;
    expect(kindsOf(web)[before]).toBe("backward");
    while (web.pings.length > 0) answer();
    await bulk;
    expect(kindsOf(web).filter((kind) => kind === "exchange").length).toBeGreaterThan(before);
  });

  it("tells what had to wait from what there was room for", async () => {
    const { web, link, waited, answer } = open();
    void link.send(peer, "forward", new Uint8Array(1000));
    const bulk = link.send(peer, "exchange", new Uint8Array(200 << 10));
    expect(waited).not.toContain(true);
    const handed = waited.length;
    while (web.pings.length > 0) answer();
    await bulk;
    expect(waited.slice(handed)).not.toContain(false);
    void link.send(peer, "forward", new Uint8Array(1000));
    expect(waited.at(-1)).toBe(false);
  });

  it("asks once about small messages that follow each other", () => {
    const { clock, web, socket, link } = open();
    for (let count = 0; count < 5; count++) {
      void link.send(peer, "forward", new Uint8Array(1000));
      clock.advance(30);
    }
    expect(web.sent).toHaveLength(5);
    expect(web.pings).toHaveLength(0);
    clock.advance(100);
    expect(web.pings).toHaveLength(1);
    for (const ping of web.pings) socket.returned(ping);
    expect(socket.bufferedAmount).toBe(0);
  });

  it("does not believe answers to what was not asked", () => {
    const { web, socket, link } = open();
    void link.send(peer, "exchange", new Uint8Array(1 << 20)).catch(() => {});
    const { bufferedAmount } = socket;
    const handed = web.sent.length;
    const lie = Buffer.alloc(8);
    lie.writeBigUInt64LE(2n ** 64n - 1n);
    for (const payload of [lie, Buffer.alloc(0), Buffer.alloc(3), Buffer.alloc(13), Buffer.alloc(125)])
      socket.returned(payload);
    expect(socket.bufferedAmount).toBe(bufferedAmount);
    expect(web.sent).toHaveLength(handed);
    const [first] = web.pings;
    if (first !== undefined) socket.returned(first);
    expect(web.sent.length).toBeGreaterThan(handed);
  });

  it("goes on behind a proxy that answers no pings, slowly", async () => {
    const { clock, web, link } = open();
    const bulk = link.send(peer, "exchange", new Uint8Array(150 << 10));
    const handed = web.sent.length;
    clock.advance(4999);
    expect(web.sent).toHaveLength(handed);
    clock.advance(10_001);
    await bulk;
  });

  it("waits for nothing once it is closed", () => {
    const { clock, web, socket, link } = open();
    void link.send(peer, "exchange", new Uint8Array(1 << 20)).catch(() => {});
    link.close();
    socket.close();
    const { length } = web.pings;
    clock.advance(60_000);
    expect(web.pings).toHaveLength(length);
  });

  it("passes on that a connection failed", async () => {
    const { web, link } = open();
    web.failure = new Error("reset");
    const bulk = link.send(peer, "exchange", new Uint8Array(1 << 20));
    expect(await bulk.catch((error) => failureOf(error)?.code)).toBe("unreachable");
  });
});
