/** Sends large messages for so long and, behind them, small urgent ones whose return is timed. */
import type { MinerId } from "../../../src/protocol/ids.ts";
import type { PeerLink } from "../../../src/transport/peer-link.ts";

/** An activation of 256 tokens × 2,048 channels in bf16. */
export const messageBytes = 1 << 20;
const urgentBytes = 1024;
const urgentEveryMs = 50;
/** Handed to the link at once: enough that it never runs dry. */
const sendsAtOnce = 8;

export interface Sent {
  readonly bytes: number;
  readonly seconds: number;
  /** How long each urgent message took, there and back. */
  readonly roundTripsMs: readonly number[];
}

/** Small messages of the kind `answer` that the other end returns as `flush`. */
export class Echoes {
  readonly #waiting = new Map<number, () => void>();
  #sent = 0;

  /** Resolves, with how long it took, when it is back. */
  async send(link: Pick<PeerLink, "send">, to: MinerId): Promise<number> {
    const sentAtMs = performance.now();
    const number = this.#sent++;
    const body = Buffer.alloc(urgentBytes);
    body.writeUInt32LE(number);
    const back = new Promise<void>((resolve) => this.#waiting.set(number, resolve));
    await link.send(to, "answer", body);
    await back;
    return performance.now() - sentAtMs;
  }

  returned(body: Uint8Array): void {
    const number = Buffer.from(body).readUInt32LE();
    this.#waiting.get(number)?.();
    this.#waiting.delete(number);
  }
}

export async function sendFor(
  link: Pick<PeerLink, "send">,
  to: MinerId,
  seconds: number,
  echoes: Echoes,
): Promise<Sent> {
  const body = Buffer.alloc(messageBytes, 1);
  const beganAtMs = performance.now();
  const isOver = () => performance.now() - beganAtMs >= seconds * 1000;
  let bytes = 0;
  const roundTripsMs: number[] = [];

  async function stream(): Promise<void> {
    while (!isOver()) {
      await link.send(to, "forward", body);
      bytes += body.length;
      // A link that takes all at once leaves nobody else a turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async function urgent(): Promise<void> {
    while (!isOver()) {
      roundTripsMs.push(await echoes.send(link, to));
      await new Promise((resolve) => setTimeout(resolve, urgentEveryMs));
    }
  }

  await Promise.all([...Array.from({ length: sendsAtOnce }, stream), urgent()]);
  return { bytes, seconds: (performance.now() - beganAtMs) / 1000, roundTripsMs };
}
