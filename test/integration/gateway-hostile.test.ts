import { once } from "node:events";
import { connect, type Socket } from "node:net";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { fakeAccusation } from "../../src/network/orchestrator/core/fake-accusation.ts";
import { fakeHash, fakeMiner } from "../../src/network/orchestrator/core/fake-swarm.ts";
import type { ClientMessage } from "../../src/protocol/client-messages.ts";
import { type FailureCode, failureOf } from "../../src/protocol/failure.ts";
import { decodeFrame, encodeFrame, isFrame } from "../../src/protocol/frames.ts";
import { type PlaceRef, runIdSchema } from "../../src/protocol/ids.ts";
import {
  decodeClientMessage,
  decodeGatewayMessage,
  encodeMessage,
  maxClientMessageBytes,
  protocolVersion,
} from "../../src/protocol/messages.ts";
import { decodeMicrobatch, encodeMicrobatch } from "../../src/protocol/microbatch.ts";
import { type FakeClient, type GatewayWorld, openGatewayWorld } from "./gateway-world.ts";

const seed = 20_260_102;
/** Where something else is tried than what a client may send in what time. */
const unhurried = {
  connectionsPerSecond: 1e6,
  messagesPerSecond: 1e9,
  framesPerSecond: 1e9,
  guestBytesPerSecond: 1e12,
};
const liveRuns = 130;
const payloadsPerRun = 50;
const decoderRuns = 5000;
const flood = 5000;

/** Of an epoch that has long gone. */
const oldEpoch: PlaceRef = { runId: runIdSchema.parse("test-run"), epoch: 0, attempt: 99, stage: 0 };
const blob = { hash: fakeHash("blob"), bytes: 4 };
const failure = { code: "compute-crashed", message: "crashed", action: "", retry: true } as const;
const device = {
  platform: "test",
  cpu: "test",
  cores: 1,
  memoryBytes: 1,
  memoryLimitBytes: 1,
  maximumStages: 64,
  backend: "reference",
  precision: "f32",
  adapter: null,
  blockTokensPerSecond: null,
} as const;
const oldHello: ClientMessage = {
  type: "hello",
  protocol: protocolVersion,
  software: "test",
  role: "miner",
  minerId: fakeMiner(9),
  name: "replayed",
  signature: new Uint8Array(64),
};
const validMessages: readonly ClientMessage[] = [
  oldHello,
  { type: "join", device, held: [] },
  { type: "leave", reason: "bye" },
  { type: "ready", at: oldEpoch, weightsHash: blob.hash },
  { type: "source-done", at: oldEpoch, microbatchesDone: 1, microbatchesLost: 0 },
  {
    type: "contributed",
    at: oldEpoch,
    manifest: blob.hash,
    tokens: 1,
    lossSumNats: null,
    computeMs: 1,
    boundary: null,
  },
  {
    type: "reduced",
    at: oldEpoch,
    slices: [{ partition: 0, hash: blob.hash, missing: [0] }],
    outliers: [fakeMiner(1)],
  },
  { type: "merged", at: oldEpoch, weightsHash: blob.hash },
  { type: "stored", at: oldEpoch, weights: blob, optimizer: blob },
  { type: "failed", at: oldEpoch, failure },
  fakeAccusation(fakeMiner(1))(oldEpoch),
  {
    type: "owner-command",
    id: 1,
    command: { type: "steer-run", runId: oldEpoch.runId, action: "finish" },
  },
];
const validFrame = encodeFrame({
  kind: "forward",
  peer: fakeMiner(1),
  messageNumber: 1,
  totalBytes: 100,
  offset: 0,
  chunk: new Uint8Array(100),
});
const validMicrobatch = encodeMicrobatch({
  epoch: 1,
  attempt: 0,
  stage: 1,
  step: 0,
  microbatch: 3,
  sequences: 1,
  path: [fakeMiner(1), fakeMiner(2)],
  signature: "ab".repeat(64),
  origin: { sender: fakeMiner(1), content: "cd".repeat(32), signature: "ef".repeat(64) },
  rows: 2,
  columns: 3,
  payload: new Uint8Array(6),
});

const valid = fc.oneof(
  fc.constantFrom(...validMessages).map((message) => new Uint8Array(encodeMessage(message))),
  fc.constantFrom(validFrame, validMicrobatch).map((bytes) => new Uint8Array(bytes)),
);
const random = fc.uint8Array({ maxLength: 300 });
const withPrefix = (prefix: readonly number[]) => random.map((rest) => Uint8Array.from([...prefix, ...rest]));
const mutated = fc
  .tuple(valid, fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 4 }))
  .map(([bytes, changes]) => {
    const copy = Uint8Array.from(bytes);
    for (const [at, by] of changes) copy[at % copy.length] = (copy[at % copy.length] ?? 0) ^ by;
    return copy;
  });
const truncated = fc.tuple(valid, fc.nat()).map(([bytes, length]) => bytes.slice(0, length % bytes.length));
const extended = fc.tuple(valid, random).map(([bytes, rest]) => Uint8Array.from([...bytes, ...rest]));
const oversized = fc.constantFrom(
  Uint8Array.from({ length: maxClientMessageBytes + 1 }, (_, index) => (index === 0 ? 1 : 0x90)),
  Buffer.concat([encodeMessage({ type: "leave", reason: "" }), Buffer.alloc(maxClientMessageBytes)]),
  (() => {
    const frame = Buffer.from(validFrame);
    frame.writeUInt32LE(0xffffffff, 44);
    return frame;
  })(),
);
const payload: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 3, arbitrary: random },
  { weight: 3, arbitrary: withPrefix([1]) },
  { weight: 3, arbitrary: withPrefix([0x54, 0x41, 0x48, 0x31]) },
  { weight: 6, arbitrary: mutated },
  { weight: 3, arbitrary: truncated },
  { weight: 2, arbitrary: extended },
  { weight: 1, arbitrary: oversized },
  { weight: 2, arbitrary: valid },
);

/** What decoding `bytes` fails with; null when it succeeds. Throws when the failure is not a typed one. */
function decodingFailure(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): FailureCode | null {
  try {
    decode(bytes);
    return null;
  } catch (error) {
    const code = failureOf(error)?.code;
    if (code === undefined) throw error;
    return code;
  }
}

/** How the gateway must answer a stranger's bytes; null: by no refusal. */
function expectedRefusal(bytes: Uint8Array): FailureCode | null {
  if (isFrame(bytes)) return decodingFailure(decodeFrame, bytes);
  const undecodable = decodingFailure(decodeClientMessage, bytes);
  if (undecodable !== null) return undecodable;
  const message = decodeClientMessage(bytes);
  if (message.type === "hello") return "replayed-message";
  // About a run that is not there it is late, as all messages are.
  if (message.type === "accuse") return message.at.runId === oldEpoch.runId ? "bad-signature" : null;
  return message.type === "stored" ? "blob-not-found" : null;
}

async function refusalsOf({ gateway }: GatewayWorld): Promise<Partial<Record<FailureCode, number>>> {
  const health = await fetch(`http://127.0.0.1:${gateway.port}/health`);
  return ((await health.json()) as { refusals: Partial<Record<FailureCode, number>> }).refusals;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

describe("hostile input", () => {
  let world: GatewayWorld;
  let honest: FakeClient[];
  let exchanged = 0;
  beforeAll(async () => {
    world = await openGatewayWorld({ limits: { ...unhurried, refusals: 1e9 } });
    honest = await world.train();
  });
  afterAll(async () => {
    await world.close();
    expect(world.logged).toEqual([]);
  });

  /** The honest members still reach each other through the gateway, and are still training. */
  async function honestMembersWork(): Promise<void> {
    const [a, b] = honest;
    if (a === undefined || b === undefined) throw new Error("no honest members");
    const chunk = Uint8Array.of(exchanged & 255);
    const { minerId } = b.identity;
    a.sendFrame({ kind: "backward", peer: minerId, messageNumber: exchanged++, totalBytes: 1, offset: 0, chunk });
    expect(await b.nextFrame()).toMatchObject({ peer: a.identity.minerId, chunk: Buffer.from(chunk) });
    expect(world.orchestrator.state.phase.name).toBe("training");
    expect([a, b].flatMap((member) => member.received("refused"))).toEqual([]);
  }

  it(`from an open session is refused with its reason, ${liveRuns * payloadsPerRun} times, while the others go on`, async () => {
    const attacker = await world.enter();
    let refusals = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(payload, { minLength: payloadsPerRun, maxLength: payloadsPerRun, size: "max" }),
        async (payloads) => {
          // A hostile miner signs whatever it sends; what is not signed is somebody else's (`gateway-tampering.test.ts`).
          for (const bytes of payloads) {
            if (isFrame(bytes)) attacker.sendBytes(bytes);
            else attacker.sendBody(bytes);
          }
          await attacker.flushed();
          const expected = payloads.flatMap((bytes) => expectedRefusal(bytes) ?? []);
          for (const code of expected) expect((await attacker.next("refused")).failure.code).toBe(code);
          expect(attacker.received("refused")).toEqual([]);
          refusals += expected.length;
          await honestMembersWork();
        },
      ),
      { numRuns: liveRuns, seed, endOnFailure: true },
    );
    expect(refusals).toBeGreaterThan((liveRuns * payloadsPerRun) / 2);
    const { "not-authorised": framesFromOutside = 0, ...others } = await refusalsOf(world);
    expect(framesFromOutside).toBeGreaterThan(0);
    expect(sum(Object.values(others))).toBe(refusals);
    attacker.end();
  });

  it("instead of a hello is refused, and the connection closed", async () => {
    await fc.assert(
      fc.asyncProperty(payload, async (bytes) => {
        const stranger = await world.connect();
        stranger.sendBytes(bytes);
        const { failure: refusal, closing } = await stranger.next("refused");
        expect(closing).toBe(true);
        expect(refusal.code).not.toBe("");
        expect(await stranger.closed).toBeGreaterThanOrEqual(4400);
      }),
      { numRuns: 150, seed, endOnFailure: true },
    );
    await honestMembersWork();
  });

  it("that is text, or larger than any frame, ends only its own connection", async () => {
    const [texter, giant] = [await world.enter(), await world.enter()];
    texter.sendBytes("hello?");
    expect((await texter.next("refused")).failure.code).toBe("malformed-message");
    giant.sendBytes(Buffer.alloc(4 << 20));
    expect(await giant.closed).toBe(1009);
    await honestMembersWork();
  });

  it("that goes on and on ends the session", async () => {
    const strict = await openGatewayWorld();
    const client = await strict.enter();
    for (let index = 0; index < 20; index++) client.sendBody(Uint8Array.of(1, 0xc1));
    expect(await client.closed).toBe(4400);
    await strict.close();
  });

  it(`makes no decoder fail in any other way than it says, ${3 * decoderRuns} times`, () => {
    for (const decode of [decodeClientMessage, decodeGatewayMessage, decodeMicrobatch])
      fc.assert(
        fc.property(payload, (bytes) => {
          decodingFailure(decode, bytes);
        }),
        { numRuns: decoderRuns, seed },
      );
  });
});

describe("guests, who have no place in an epoch", () => {
  let world: GatewayWorld;
  beforeEach(async () => {
    world = await openGatewayWorld();
  });
  afterEach(async () => {
    await world.close();
    expect(world.logged).toEqual([]);
  });

  it("are refused a message that is longer than they may send before it is complete", async () => {
    const guest = await world.enter();
    guest.sendBytes(new Uint8Array(1 << 20));
    expect((await guest.next("refused")).failure.code).toBe("message-too-large");
    expect(await guest.closed).toBe(4413);
    expect(await refusalsOf(world)).toEqual({ "message-too-large": 1 });
  });

  it("reach nobody with their frames, which are counted", async () => {
    const [member] = await world.train();
    const guest = await world.enter();
    guest.sendFrame(
      decodeFrame(encodeFrame({ ...decodeFrame(validFrame), peer: member?.identity.minerId ?? fakeMiner(1) })),
    );
    await guest.flushed();
    expect(member?.frames).toEqual([]);
    expect(await refusalsOf(world)).toEqual({ "not-authorised": 1 });
  });

  it("wait when they have sent more than their address may, and members do not", async () => {
    await world.close();
    world = await openGatewayWorld({ limits: { guestBytesPerSecond: 200 } });
    const [a, b] = await world.train();
    if (a === undefined || b === undefined) throw new Error("nobody trains");
    const guest = await world.enter();
    for (let count = 0; count < 40; count++) guest.send({ type: "leave", reason: "x".repeat(200) });
    guest.sendUnchecked({ type: "nonsense" });
    await guest.next("refused"); // all of it has been read
    let isHeard = false;
    void guest.flushed().then(() => {
      isHeard = true;
    });
    a.sendFrame({ ...decodeFrame(validFrame), peer: b.identity.minerId });
    expect((await b.nextFrame()).peer).toBe(a.identity.minerId);
    expect(isHeard).toBe(false);
  });

  it("get one answer at a time: requests that do not wait for it end their connection", async () => {
    const socket = connect(world.gateway.port, "127.0.0.1");
    socket.write("GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".repeat(100));
    socket.on("error", () => undefined).resume();
    await once(socket, "close");
    expect(await refusalsOf(world)).toEqual({ "unexpected-message": 1 });
  });

  it("may ask for more as soon as they have an answer, before it has ended at the gateway", async () => {
    const { blobToken } = await world.enter();
    const request = `GET /blobs/${fakeHash("x")} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${blobToken}\r\n\r\n`;
    const socket = connect(world.gateway.port, "127.0.0.1").setEncoding("utf8");
    socket.write(request.repeat(2));
    let answers = "";
    for await (const text of socket) {
      answers += text;
      if (answers.split("HTTP/1.1 404").length > 2) break; // which ends the connection
    }
    expect(answers.split("HTTP/1.1 404")).toHaveLength(3);
    expect(await refusalsOf(world)).toEqual({});
  });
});

describe("hostile connections", { timeout: 120_000 }, () => {
  let world: GatewayWorld;
  afterEach(async () => {
    await world.close();
    expect(world.logged).toEqual([]);
  });

  it(`of which there are ${flood} from one address get a few answers and no memory, and the sessions go on`, async () => {
    world = await openGatewayWorld({ limits: { connectionsPerAddress: 64, connectionsPerSecond: 1e6 } });
    const [a, b] = await world.train();
    if (a === undefined || b === undefined) throw new Error("nobody trains");
    const sockets: Socket[] = [];
    const answers: string[] = [];
    for (let count = 0; count < flood; count++) {
      const socket = connect(world.gateway.port, "127.0.0.1");
      socket.setEncoding("latin1").on("data", (text: string) => answers.push(text.split("\r\n")[0] ?? ""));
      socket.on("error", () => undefined); // reset by the gateway
      socket.write("GET /session HTTP/1.1\r\nHost: 127.0.0.1\r\n");
      sockets.push(socket);
      if (count % 100 === 99) await once(socket, "connect").catch(() => undefined);
    }
    await vi.waitUntil(() => sockets.filter((socket) => !socket.destroyed).length <= 128, { timeout: 30_000 });
    const chunk = Uint8Array.of(7);
    const { minerId } = b.identity;
    a.sendFrame({ kind: "backward", peer: minerId, messageNumber: 1, totalBytes: 1, offset: 0, chunk });
    expect(await b.nextFrame()).toMatchObject({ peer: a.identity.minerId, chunk: Buffer.from(chunk) });
    for (const socket of sockets) socket.destroy();
    await vi.waitFor(
      async () => expect((await refusalsOf(world))["too-many-connections"]).toBeGreaterThan(flood - 128),
      {
        timeout: 30_000,
      },
    );
    expect(answers.every((line) => line.startsWith("HTTP/1.1 429"))).toBe(true);
  });

  it("whose clients never read what they are told are given up, and nobody else's", async () => {
    world = await openGatewayWorld({ limits: { ...unhurried, refusals: 1e9, unreadBytes: 1 << 20 } });
    const [reader, hoarder] = [await world.enter(), await world.enter()];
    hoarder.socket.pause();
    // Its refusal names the field that nobody knows.
    const nonsense = { type: "leave", reason: "", ["x".repeat(480)]: 1 };
    let sent = 0;
    while ((await refusalsOf(world))["timed-out"] === undefined && sent < 1_000_000)
      for (let count = 0; count < 1000; count++, sent++) hoarder.sendUnchecked(nonsense);
    expect(await refusalsOf(world)).toEqual({ "timed-out": 1, "malformed-message": expect.any(Number) });
    await reader.flushed();
    expect(reader.received("refused")).toEqual([]);
  });
});
