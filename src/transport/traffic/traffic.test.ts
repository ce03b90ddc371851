import { EventEmitter } from "node:events";
import { describe, expect, it } from "vitest";
import { FakeClock } from "../../miner/session/fake-clock.ts";
import { maxChunkBytes } from "../../protocol/frames.ts";
import { type CountedSocket, Traffic } from "./traffic.ts";

class FakeSocket extends EventEmitter implements CountedSocket {
  bytesRead = 0;
  bytesWritten = 0;
  writableLength = 0;
}

describe("the traffic of a miner", () => {
  const open = () => {
    const socket = new FakeSocket();
    const traffic = new Traffic(new FakeClock());
    traffic.watch(socket);
    return { socket, traffic };
  };

  it("is counted in packets: 52 bytes for each 1448, and the same for each acknowledgement the other way", () => {
    const { socket, traffic } = open();
    socket.bytesWritten = 144_800;
    traffic.wrote(144_800);
    socket.bytesRead = 14_480;
    traffic.read(14_480);
    expect(traffic.totals).toEqual({
      sentBytes: 144_800 + 100 * 52 + 52,
      receivedBytes: 14_480 + 10 * 52 + 100 * 26,
    });
  });

  it("counts a packet for each small write", () => {
    const { socket, traffic } = open();
    for (let write = 0; write < 10; write++) {
      socket.bytesWritten += 60;
      traffic.wrote(60);
    }
    expect(traffic.totals).toEqual({ sentBytes: 10 * 112, receivedBytes: 10 * 26 });
  });

  it("counts fewer acknowledgements of what is stored: the gateway lets it gather", () => {
    const { socket, traffic } = open();
    socket.bytesWritten = 16 << 10;
    traffic.wroteInBackground(16 << 10);
    expect(traffic.totals).toEqual({ sentBytes: (16 << 10) + 12 * 52, receivedBytes: 2 * 52 });
  });

  it("counts what has left, not what waits, and keeps the count of closed sockets", () => {
    const { socket, traffic } = open();
    traffic.watch(socket);
    socket.bytesWritten = 1000;
    socket.writableLength = 400;
    expect(traffic.totals.sentBytes).toBe(600);
    socket.writableLength = 0;
    socket.emit("close");
    socket.bytesWritten = 5000;
    expect(traffic.totals.sentBytes).toBe(1000);
  });

  it("leaves room for acknowledgements under the cap of the other direction", () => {
    const { traffic } = open();
    traffic.limit({ upload: 100, download: null });
    for (let reads = 0; reads < 100; reads++) traffic.read(14_480);
    expect(traffic.upload.isOpen).toBe(false);
  });

  it("cuts what it sends so that what is urgent waits no longer than it must", () => {
    const { traffic } = open();
    const chunkOf = (upload: number) => {
      traffic.limit({ upload, download: null });
      return traffic.chunkBytes;
    };
    expect(chunkOf(1e6)).toBe(25_000);
    expect(chunkOf(1000)).toBe(16 << 10);
    expect(chunkOf(1e9)).toBe(maxChunkBytes);
  });
});
