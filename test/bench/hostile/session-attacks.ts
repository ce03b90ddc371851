/** What can be done to the gateway by whoever has a key, which costs nothing on an open network. */
import { request } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import type { DeviceReport } from "../../../src/protocol/device-report.ts";
import { encodeFrame, maxChunkBytes } from "../../../src/protocol/frames.ts";
import { createIdentity, hashBytes } from "../../../src/protocol/identity.ts";
import type { Attacker, Target } from "./attacker.ts";
import { HostileClient, opcodes, webSocketFrame } from "./hostile-client.ts";

const uselessDevice: DeviceReport = {
  platform: "",
  cpu: "",
  cores: 1,
  memoryBytes: 1,
  memoryLimitBytes: 1,
  maximumStages: 1,
  backend: "reference",
  precision: "f32",
  adapter: null,
  blockTokensPerSecond: null,
};

const malformed = Buffer.of(1, 0xc1);

/** Frames that say wrong things of themselves or are too large, then malformed messages. */
export async function sendGarbage(attacker: Attacker): Promise<void> {
  const [peer = createIdentity().minerId] = attacker.target.miners;
  const frame = { kind: "forward", peer, messageNumber: 1, offset: 0 } as const;
  const malformedFrames = [
    encodeFrame({ ...frame, totalBytes: 5, chunk: Buffer.alloc(10) }),
    encodeFrame({ ...frame, totalBytes: 10, chunk: Buffer.alloc(10) }).subarray(0, 20),
  ];
  const oversizedFrames = [
    encodeFrame({ ...frame, totalBytes: 0xffffffff, chunk: Buffer.alloc(10) }),
    encodeFrame({ ...frame, totalBytes: 2 * maxChunkBytes, chunk: Buffer.alloc(maxChunkBytes + 1) }),
  ];
  await attacker.inLanes(16, async () => {
    const { client } = await HostileClient.enter(attacker.target);
    // The last of the oversized ones ends a session, so that nothing behind it is read.
    for (const bytes of [...malformedFrames, ...oversizedFrames]) {
      attacker.attempts += 1;
      client.sendBytes(bytes);
    }
    for (; client.isOpen; attacker.attempts++) {
      client.say(malformed);
      await pause(10);
    }
  });
}

/** Small and large ones, to those who train, from who has no place among them. */
export async function sendFramesFromOutside(attacker: Attacker): Promise<void> {
  const { miners } = attacker.target;
  const frames = miners.flatMap((peer) =>
    Array.from({ length: 50 }, (_, index) =>
      encodeFrame({ kind: "forward", peer, messageNumber: index, totalBytes: 1, offset: 0, chunk: Buffer.of(1) }),
    ),
  );
  const batch = Buffer.concat(frames.map((frame) => webSocketFrame(opcodes.binary, frame)));
  await attacker.inLanes(8, async () => {
    const { client } = await HostileClient.enter(attacker.target);
    while (client.isOpen) {
      attacker.attempts += frames.length;
      await client.write(batch);
      await pause(1);
    }
  });
}

/** Correct messages that concern nobody, over many sessions, each as fast as one session may. */
export async function chatter(attacker: Attacker): Promise<void> {
  await attacker.inLanes(400, async () => {
    const { client } = await HostileClient.enter(attacker.target);
    while (client.isOpen) {
      client.send({ type: "leave", reason: "" });
      attacker.attempts += 1;
      await pause(12);
    }
  });
}

/** Joins and leaves over and over, as a machine that can hold no stage: each time is an event of the run, which is kept. */
export async function comeAndGo(attacker: Attacker): Promise<void> {
  await attacker.inLanes(64, async () => {
    const { client } = await HostileClient.enter(attacker.target);
    while (client.isOpen) {
      client.send({ type: "join", device: uselessDevice, held: [] });
      client.send({ type: "leave", reason: "" });
      attacker.attempts += 2;
      await pause(30);
    }
  });
}

/** Half a frame in each session: what has come of it waits for the rest. */
export async function sendHalfFrames(attacker: Attacker): Promise<void> {
  const half = webSocketFrame(opcodes.binary, Buffer.alloc(1_900_000), 2_000_000);
  await attacker.inLanes(400, async () => {
    const { client } = await HostileClient.enter(attacker.target);
    attacker.attempts += 1;
    await client.write(half);
    await client.closed;
  });
}

/** Asks for a blob again and again and reads nothing, neither of the blobs nor of the session. */
export async function readSlowly(attacker: Attacker): Promise<void> {
  const pings = Buffer.concat(Array.from({ length: 500 }, () => webSocketFrame(opcodes.ping, Buffer.alloc(125))));
  await attacker.inLanes(8, async () => {
    const { client, blobToken } = await HostileClient.enter(attacker.target);
    client.line.pause();
    const requests = Array.from({ length: 32 }, () => {
      const asked = get(attacker, blobToken);
      asked.on("response", (response) => response.pause());
      attacker.attempts += 1;
      return asked;
    });
    while (client.isOpen) await client.write(pings);
    for (const asked of requests) asked.destroy();
  });
}

/** Asks for a blob again and again, and reads it as fast as it comes. */
export async function fetchBlobs(attacker: Attacker): Promise<void> {
  await attacker.inLanes(4, async () => {
    const { client, blobToken } = await HostileClient.enter(attacker.target);
    while (client.isOpen) {
      attacker.attempts += 1;
      await new Promise<void>((resolve) => {
        const asked = get(attacker, blobToken);
        asked.on("response", (response) => response.resume());
        asked.on("close", resolve);
      });
    }
  });
}

/** Blobs that nobody asked for, as long as somebody listens. */
export async function uploadUnasked(attacker: Attacker): Promise<void> {
  const bytes = Buffer.alloc(16 << 20);
  const hash = hashBytes(bytes);
  await attacker.inLanes(8, async () => {
    const { client, blobToken } = await HostileClient.enter(attacker.target);
    while (client.isOpen) {
      attacker.attempts += 1;
      await new Promise<void>((resolve) => {
        const put = request({
          method: "PUT",
          ...blobAddress(attacker.target, hash, blobToken),
          headers: { authorization: `Bearer ${blobToken}`, "content-length": bytes.length },
        });
        put.on("error", () => undefined); // `close` follows
        put.on("response", (response) => response.resume());
        put.on("close", resolve);
        put.end(bytes);
      });
    }
  });
}

export async function openSessionsOfOneKey(attacker: Attacker): Promise<void> {
  const identity = createIdentity();
  await attacker.inLanes(32, async () => {
    attacker.attempts += 1;
    const { client } = await HostileClient.enter(attacker.target, identity);
    await client.closed;
  });
}

function get({ target }: Attacker, token: string) {
  const asked = request(blobAddress(target, target.blob, token));
  asked.on("error", () => undefined); // `close` follows
  asked.end();
  return asked;
}

function blobAddress({ port, localAddress }: Target, blob: string, token: string) {
  const headers = { authorization: `Bearer ${token}` };
  return { host: "127.0.0.1", port, localAddress, path: `/blobs/${blob}`, headers };
}
