/**
 * What a session's pings ask about the frames before them, and what the gateway's pongs say (`docs/protocol.md`, "Sessions"):
 *
 *     offset  bytes  field (little-endian)
 *          0      8  how many bytes of frames were handed to the session before the ping
 *          8      6  pongs only: when the ping came, in milliseconds of the gateway's clock, which may count from anywhere
 */

const questionBytes = 8;
const clockBytes = 6;

export interface Acknowledgement {
  readonly handedBytes: number;
  /** By the clock of whoever answers; null: it is a proxy on the way, which does not say. */
  readonly cameAtMs: number | null;
}

export function encodeQuestion(handedBytes: number): Uint8Array {
  const payload = Buffer.alloc(questionBytes);
  payload.writeBigUInt64LE(BigInt(handedBytes));
  return payload;
}

/** A pong's payload. Of another ping it is the ping's own, as RFC 6455 (5.5.3) has it. */
export function answerTo(ping: Buffer, nowMs: number): Buffer {
  if (ping.length !== questionBytes) return ping;
  const clock = Buffer.alloc(clockBytes);
  clock.writeUIntLE(Math.round(nowMs), 0, clockBytes);
  return Buffer.concat([ping, clock]);
}

/** Null: it is the answer to something else. */
export function decodeAnswer(pong: Buffer): Acknowledgement | null {
  if (pong.length !== questionBytes && pong.length !== questionBytes + clockBytes) return null;
  const handedBytes = Number(pong.readBigUInt64LE());
  return { handedBytes, cameAtMs: pong.length === questionBytes ? null : pong.readUIntLE(questionBytes, clockBytes) };
}
