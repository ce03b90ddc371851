import { describe, expect, it } from "vitest";
import { failureOf } from "./failure.ts";
import {
  connectionMessageSchema,
  decodePathMessage,
  encodePathMessage,
  type PathMessage,
  pathMessageSchema,
} from "./path-messages.ts";

const connection = "ab".repeat(64);

describe("messages about paths", () => {
  it.each<PathMessage>([
    { type: "moved", connection },
    { type: "broken", connection },
    { type: "received", connection, messages: 7 },
    { type: "received", connection, messages: null },
  ])("come as they were sent: %j", (message) => {
    expect(decodePathMessage(pathMessageSchema, encodePathMessage(message))).toEqual(message);
  });

  it.each([
    ["no msgpack", Buffer.from([0xc1])],
    ["nothing", new Uint8Array()],
    ["another connection's name", encodePathMessage({ type: "moved", connection: "../../etc" })],
    ["a count below nothing", encodePathMessage({ type: "received", connection, messages: -1 })],
    ["what belongs on a connection", encodePathMessage({ type: "arrived" })],
  ])("are refused when they are %s", (_, bytes) => {
    expect(codeOf(() => decodePathMessage(pathMessageSchema, bytes))).toBe("malformed-message");
  });

  it("are refused before they are read when they are too long", () => {
    expect(codeOf(() => decodePathMessage(connectionMessageSchema, new Uint8Array(4096)))).toBe("message-too-large");
  });
});

function codeOf(act: () => unknown): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    return failureOf(error)?.code;
  }
}
