import fc from "fast-check";
import { Packr } from "msgpackr";
import { describe, expect, test } from "vitest";
import { type ClientMessage, reducedLimits } from "./client-messages.ts";
import { FailureError } from "./failure.ts";
import { fakeHotkeyProof } from "./fake-hotkey.ts";
import type { GatewayMessage } from "./gateway-messages.ts";
import { createIdentity } from "./identity.ts";
import { blobHashSchema, runIdSchema } from "./ids.ts";
import {
  decodeClientMessage,
  decodeGatewayMessage,
  encodeMessage,
  maxClientMessageBytes,
  protocolVersion,
} from "./messages.ts";
import { type Roster, rosterBytes } from "./roster.ts";

const seed = 20_261_123;
const { minerId } = createIdentity();
const at = { runId: runIdSchema.parse("demo"), epoch: 3, attempt: 0, stage: 1 };
const hash = blobHashSchema.parse("0a".repeat(32));
const signature = new Uint8Array(64).fill(3);
const replica = { minerId, weight: 7 };

const record = { sender: minerId, content: "ab".repeat(32), signature: "ef".repeat(64) };
const clientMessages: readonly ClientMessage[] = [
  { type: "hello", protocol: protocolVersion, software: "test", role: "miner", minerId, name: "laptop", signature },
  { type: "admission-proof", proof: { kind: "invitation", token: "A-b_9" } },
  { type: "payout", address: null },
  { type: "hotkey", proof: fakeHotkeyProof(minerId, minerId, 0) },
  {
    type: "join",
    device: {
      platform: "linux-x64",
      cpu: "test",
      cores: 2,
      memoryBytes: 1 << 30,
      memoryLimitBytes: 1 << 29,
      maximumStages: 64,
      backend: "native",
      precision: "f32",
      adapter: null,
      blockTokensPerSecond: 1234.5,
    },
    held: [at, { ...at, stage: 2 }],
  },
  { type: "leave", reason: "pause" },
  {
    type: "accuse",
    at,
    kind: "moved",
    step: 3,
    index: 0,
    proof: { type: "two-contents", records: [record, { ...record, content: "cd".repeat(32) }] },
  },
  {
    type: "accuse",
    at,
    kind: "backward",
    step: 3,
    index: 14,
    proof: { type: "false-origin", record, payload: "cd".repeat(32), origin: record },
  },
  { type: "link", upBytesPerSecond: 2.5e6, downBytesPerSecond: null, roundTripMs: 40 },
  { type: "ready", at, weightsHash: hash },
  {
    type: "progress",
    at,
    tokensBackward: 4096,
    microbatchesDone: 4,
    microbatchesLost: 0,
    microbatchesInFlight: 2,
    microbatchesRerouted: 1,
    microbatchesStale: 0,
    messagesDamaged: 0,
    stalenessSum: 3,
    stalenessMost: 1,
    tokensPerSecond: 12.5,
    memoryBytes: 1 << 28,
    lossSumNats: null,
  },
  { type: "source-done", at, microbatchesDone: 4, microbatchesLost: 0 },
  {
    type: "contributed",
    at,
    manifest: hash,
    tokens: 4096,
    lossSumNats: 8123.25,
    computeMs: 1200,
    boundary: { rms: 1.5, relativeError: 0.01 },
  },
  {
    type: "reduced",
    at,
    slices: [
      { partition: 0, hash, missing: [1, 4] },
      { partition: 3, hash: null, missing: [] },
    ],
    outliers: [minerId],
  },
  { type: "merged", at, weightsHash: hash },
  {
    type: "snapshot",
    at,
    state: { weights: { hash, bytes: 8 }, optimizer: { hash, bytes: 20 }, moments: { hash, bytes: 12 } },
  },
  { type: "snapshot", at, state: null },
  { type: "stored", at, weights: { hash, bytes: 8 }, optimizer: { hash, bytes: 20 } },
];
const gatewayMessages: readonly GatewayMessage[] = [
  { type: "challenge", protocol: protocolVersion, networkId: minerId, nonce: new Uint8Array(32).fill(9) },
  { type: "admission", need: { kind: "proof-of-work", bits: 20 } },
  {
    type: "start",
    at,
    roster: { version: 4, stages: [[replica], [replica]], sources: [replica] },
    signature,
    boundary: { forward: "int8", backward: "int4" },
  },
  { type: "roster", at, roster: { version: 5, stages: [[], [replica]], sources: [replica] }, signature },
  { type: "upload", at, replicas: [minerId] },
  {
    type: "reduce",
    at,
    replicas: [minerId],
    contributions: [{ minerId, manifest: hash, tokens: 12 }],
    partitions: [0, 5],
  },
  { type: "apply", at, replicas: [minerId], tokens: 12, slices: [{ hash, holders: [minerId] }, null] },
  { type: "take-snapshot", at, weightsHash: hash },
  { type: "store-checkpoint", at },
  { type: "abandon-checkpoint", at },
];

describe("a control message", () => {
  test.each(clientMessages.map((message) => [message.type, message] as const))(
    "%s comes back as it was",
    (_, message) => {
      expect(plain(decodeClientMessage(encodeMessage(message)))).toEqual(plain(message));
    },
  );

  test.each(gatewayMessages.map((message) => [message.type, message] as const))(
    "%s comes back as it was",
    (_, message) => {
      expect(plain(decodeGatewayMessage(encodeMessage(message)))).toEqual(plain(message));
    },
  );

  test("with a field too many, too few or of another type is refused by name", () => {
    const pack = (value: unknown) => Buffer.concat([Buffer.of(1), new Packr({ useRecords: false }).pack(value)]);
    expect(() => decodeClientMessage(pack({ type: "leave", reason: "x", extra: 1 }))).toThrow(/extra/);
    expect(() => decodeClientMessage(pack({ type: "leave" }))).toThrow(/reason/);
    expect(() => decodeClientMessage(pack({ type: "ready", at: { ...at, epoch: -1 }, weightsHash: hash }))).toThrow(
      /epoch/,
    );
  });

  test("of another version is told from a malformed one, in both directions, by the first two fields alone", () => {
    const pack = (value: unknown) => Buffer.concat([Buffer.of(1), new Packr({ useRecords: false }).pack(value)]);
    const decoders = { hello: decodeClientMessage, challenge: decodeGatewayMessage };
    for (const [type, decode] of Object.entries(decoders))
      for (const protocol of [0, protocolVersion + 1]) {
        const isOldMiner = protocol < protocolVersion === (type === "hello");
        expect(() => decode(pack({ type, protocol, of: { another: "shape" } }))).toThrow(
          expect.objectContaining({
            failure: expect.objectContaining({
              code: "unsupported-version",
              action: expect.stringContaining(isOldMiner ? "Update Train at Home" : "owner to update"),
            }),
          }),
        );
      }
  });

  test("with as many slices as one report may hold stays far below the limit", () => {
    const slices = Array.from({ length: reducedLimits.slices }, (_, partition) => ({
      partition: 65_536 - partition,
      hash,
      missing: Array.from({ length: reducedLimits.missing / reducedLimits.slices }, (_, index) => 300 + index),
    }));
    const outliers = Array.from({ length: 64 }, () => minerId);
    const bytes = encodeMessage({ type: "reduced", at, slices, outliers });
    expect(bytes.length).toBeLessThan((3 / 4) * maxClientMessageBytes);
    expect(decodeClientMessage(bytes)).toMatchObject({ slices });
  });

  test("over the limit is refused before it is parsed", () => {
    const bytes = Buffer.alloc(maxClientMessageBytes + 1, 1);
    expect(() => decodeClientMessage(bytes)).toThrow(/limit/);
  });

  test("made of hostile bytes is refused with a typed failure, never by a crash", () => {
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.concat([Buffer.of(1), bytes])),
      fc.tuple(fc.constantFrom(...clientMessages), fc.nat(500), fc.nat(255)).map(([message, position, value]) => {
        const bytes = Buffer.from(encodeMessage(message));
        bytes[position % bytes.length] = value;
        return bytes;
      }),
      fc
        .tuple(fc.constantFrom(...clientMessages), fc.nat(500))
        .map(([message, length]) => encodeMessage(message).subarray(0, length)),
      fc.anything().map((value) => Buffer.concat([Buffer.of(1), new Packr({ useRecords: false }).pack(value)])),
    );
    let refused = 0;
    fc.assert(
      fc.property(hostile, (bytes) => {
        try {
          expect(clientMessages.map((message) => message.type)).toContain(decodeClientMessage(bytes).type);
        } catch (error) {
          expect(error).toBeInstanceOf(FailureError);
          refused++;
        }
      }),
      { seed, numRuns: 20_000 },
    );
    expect(refused).toBeGreaterThan(10_000);
  });
});

describe("a roster's signature", () => {
  const roster: Roster = { version: 4, stages: [[replica], [replica]], sources: [replica] };

  test("covers every part of it, and the epoch that it is for", () => {
    const others: readonly (readonly [typeof at, Roster])[] = [
      [{ ...at, epoch: 4 }, roster],
      [{ ...at, attempt: 1 }, roster],
      [at, { ...roster, version: 5 }],
      [at, { ...roster, stages: [[replica], []] }],
      [at, { ...roster, stages: [[replica], [{ ...replica, weight: 8 }]] }],
      [at, { ...roster, stages: [[replica], [{ ...replica, minerId: createIdentity().minerId }]] }],
      [at, { ...roster, sources: [] }],
    ];
    const signed = Buffer.from(rosterBytes(at, roster));
    for (const [place, other] of others) expect(signed.equals(rosterBytes(place, other))).toBe(false);
    expect(signed.equals(rosterBytes({ ...at, stage: 0 }, roster))).toBe(true); // one roster for all stages
  });
});

/** Buffers and Uint8Arrays with the same bytes are the same to the protocol. */
function plain(message: object): object {
  return Object.fromEntries(
    Object.entries(message).map(([key, value]) => [key, value instanceof Uint8Array ? [...value] : value]),
  );
}
