import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ClientMessage } from "./client-messages.ts";
import {
  ControlChannel,
  type ControlChannelOptions,
  messageBody,
  mostDelayMs,
  sessionDigest,
  signedHeaderBytes,
} from "./control-channel.ts";
import { type FailureCode, failureOf } from "./failure.ts";
import { createIdentity } from "./identity.ts";
import { decodeClientMessage, decodeGatewayMessage, encodeMessage } from "./messages.ts";

const seed = 20_261_126;
const [miner, network, stranger] = [createIdentity(), createIdentity(), createIdentity()];
const [challenge, hello] = [Uint8Array.of(1, 2, 3), Uint8Array.of(4, 5)];
const session = sessionDigest(challenge, hello);
const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;

const client = (other: Partial<ControlChannelOptions> = {}) =>
  new ControlChannel({ speaker: "client", identity: miner, peer: network.minerId, session, ...other });
const gateway = (other: Partial<ControlChannelOptions> = {}) =>
  new ControlChannel({ speaker: "gateway", identity: network, peer: miner.minerId, session, ...other });
const leave = (reason: string): ClientMessage => ({ type: "leave", reason });
const say = (from: ControlChannel, reason: string, nowMs = 0) => from.seal(messageBody(leave(reason)), nowMs);
const hear = (at: ControlChannel, bytes: Uint8Array, nowMs = 0) => decodeClientMessage(at.open(bytes, nowMs));

/** Why it is not taken; throws when it is, or when the reason is not a typed one. */
function refusal(at: ControlChannel, bytes: Uint8Array, nowMs = 0): FailureCode {
  try {
    at.open(bytes, nowMs);
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) throw error;
    expect(failure.retry).toBe(true);
    return failure.code;
  }
  throw new Error("it was taken");
}

describe("a control channel", () => {
  it("passes messages both ways, in their order", () => {
    const [from, to] = [client(), gateway()];
    const sent = ["one", "two", "three"].map((reason) => say(from, reason));
    expect(sent.map((bytes) => hear(to, bytes))).toEqual(["one", "two", "three"].map(leave));
    const idle = { type: "idle", reason: "none" } as const;
    expect(decodeGatewayMessage(from.open(to.seal(messageBody(idle), 0), 0))).toEqual(idle);
  });

  it("takes a body that was made once for many sessions", () => {
    const body = messageBody(leave("all"));
    const sessions = [1, 2, 3].map((byte) => sessionDigest(challenge, Uint8Array.of(byte)));
    for (const one of sessions)
      expect(hear(gateway({ session: one }), client({ session: one }).seal(body, 0))).toEqual(leave("all"));
  });

  it("refuses a message in which any bit of any byte was changed", () => {
    const bytes = Uint8Array.from(say(client(), "as it was"));
    fc.assert(
      fc.property(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 1, max: 255 }), (at, by) => {
        const changed = Uint8Array.from(bytes, (byte, index) => (index === at ? byte ^ by : byte));
        expect(["bad-signature", at === 0 ? "malformed-message" : ""]).toContain(refusal(gateway(), changed));
      }),
      { seed, numRuns: 1000, examples: [...bytes].map((_, at) => [at, 1]) },
    );
  });

  it("refuses a message that was cut short or lengthened, and any other bytes", () => {
    const bytes = say(client(), "whole");
    for (let length = 0; length < bytes.length; length++)
      expect(refusal(gateway(), bytes.subarray(0, length))).toBe(
        length < signedHeaderBytes ? "malformed-message" : "bad-signature",
      );
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 300 }), (more) => {
        expect(refusal(gateway(), Buffer.concat([bytes, more]))).toBe("bad-signature");
        expect(["bad-signature", "malformed-message"]).toContain(refusal(gateway(), more));
        expect(refusal(gateway(), Buffer.concat([Buffer.alloc(signedHeaderBytes, 2), more]))).toBe("bad-signature");
      }),
      { seed },
    );
  });

  it("refuses a message without a signature", () => {
    expect(refusal(gateway(), encodeMessage(leave("unsigned")))).toBe("bad-signature");
  });

  it.each([
    ["is of another key", client({ identity: stranger })],
    ["is of a session with another challenge", client({ session: sessionDigest(Uint8Array.of(9), hello) })],
    ["is of a session with another hello", client({ session: sessionDigest(challenge, Uint8Array.of(9)) })],
    ["was the gateway's own", gateway()],
    ["was the gateway's to a miner, under the miner's key", gateway({ identity: miner })],
  ])("refuses a message that %s", (_, from) => {
    expect(refusal(gateway(), say(from, "elsewhere"))).toBe("bad-signature");
  });

  it("tells sessions apart by where their challenge ends", () => {
    expect(sessionDigest(Uint8Array.of(1, 2), Uint8Array.of(3))).not.toEqual(
      sessionDigest(Uint8Array.of(1), Uint8Array.of(2, 3)),
    );
  });

  it("believes no key that is none", () => {
    const nobody = "f".repeat(64) as typeof miner.minerId;
    expect(refusal(gateway({ peer: nobody }), say(client(), "whose?"))).toBe("bad-signature");
  });

  it.each([
    ["comes again", [0, 0]],
    ["comes again later", [0, 1, 2, 0]],
    ["comes too early", [1]],
    ["never comes", [0, 2]],
  ])("notices when a message %s, and takes nothing more", (_, order) => {
    const [from, to] = [client(), gateway()];
    const sent = [0, 1, 2, 3, 4].map((number) => say(from, `${number}`));
    const bytesOf = (number: number) => sent[number] ?? expect.fail("not sent");
    const last = order.at(-1) ?? expect.fail("no order");
    for (const number of order.slice(0, -1)) hear(to, bytesOf(number));
    expect(to.isBroken).toBe(false);
    expect(refusal(to, bytesOf(last))).toBe("replayed-message");
    expect(to.isBroken).toBe(true);
    for (const bytes of sent) expect(refusal(to, bytes)).toBe("replayed-message");
  });
});

describe("the time of a control message", () => {
  it.each([
    ["years ahead", 40 * 365 * dayMs],
    ["at its beginning", 0],
  ])("counts from wherever the sender's clock is, also %s", (_, aheadMs) => {
    const [from, to] = [client(), gateway()];
    for (let minute = 0; minute < 100; minute++)
      hear(to, say(from, "now", aheadMs + minute * minuteMs), dayMs + minute * minuteMs);
  });

  it("may lag by what a slow line takes, and not by more", () => {
    const [from, to] = [client(), gateway()];
    const sent = [0, 0, 0].map(() => say(from, "queued"));
    hear(to, sent[0] ?? expect.fail(), 0);
    hear(to, sent[1] ?? expect.fail(), mostDelayMs);
    expect(refusal(to, sent[2] ?? expect.fail(), 1.01 * mostDelayMs)).toBe("replayed-message");
  });

  it("is measured against the session's fastest message, not its first", () => {
    const [from, to] = [client(), gateway()];
    const slow = say(from, "slow", 0);
    const fast = say(from, "fast", mostDelayMs);
    const held = say(from, "held", mostDelayMs);
    hear(to, slow, mostDelayMs);
    hear(to, fast, mostDelayMs);
    expect(refusal(to, held, 2.01 * mostDelayMs)).toBe("replayed-message");
  });

  it.each([1 - 5e-4, 1 + 5e-4])("lets a session go on for months with a clock that runs %d times as fast", (speed) => {
    const [from, to] = [client(), gateway()];
    for (let day = 0; day < 100; day++) hear(to, say(from, "still here", day * dayMs * speed), day * dayMs);
  });

  it("does not let delay grow faster than clocks drift", () => {
    const [from, to] = [client(), gateway()];
    const sent = Array.from({ length: 8 }, (_, minute) => say(from, "slower", minute * minuteMs));
    const codes = sent.map((bytes, minute) => {
      try {
        to.open(bytes, 2 * minute * minuteMs);
        return null;
      } catch (error) {
        return failureOf(error)?.code;
      }
    });
    expect(codes.indexOf("replayed-message")).toBe(6);
  });
});
