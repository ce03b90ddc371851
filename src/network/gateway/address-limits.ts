/**
 * Keeps one address from taking everybody's place and time: how many connections it has open, how many it makes in what time, and how much
 * its clients may send and fetch while they have no place in an epoch.
 */
import { isIPv6 } from "node:net";
import { RateLimit } from "../rate-limit.ts";

export interface AddressLimitValues {
  /** Open at once. A household's computers share one address. */
  readonly connectionsPerAddress: number;
  /** Made on average; those of two seconds at once. Whoever comes with many others tries again. */
  readonly connectionsPerSecond: number;
  /** Read from all its guests together: whoever has no place in an epoch says little. More waits. */
  readonly guestBytesPerSecond: number;
  /** Of blobs that are sent to all its guests together. */
  readonly guestBlobBytesPerSecond: number;
}

export const defaultAddressLimits: AddressLimitValues = {
  connectionsPerAddress: 512,
  connectionsPerSecond: 50,
  guestBytesPerSecond: 32 << 10,
  guestBlobBytesPerSecond: 4 << 20,
};

/** How often an address hears that it has one connection too many: to say so costs several times what it costs to hang up. */
const answers = { perSecond: 1, atOnce: 8 };
/** After a quiet time so much may come at once: a household's computers start together. */
const burstSeconds = 16;

/** `over`: one more than it may have. `far-over`: so many, or so often, that it gets no answer either. */
export type AddressVerdict = "admitted" | "over" | "far-over";

/** What the guests of one address share. */
export interface Household {
  /** Connections. */
  readonly made: RateLimit;
  readonly sent: RateLimit;
  readonly fetched: RateLimit;
}

interface Addressed extends Household {
  open: number;
  readonly answered: RateLimit;
}

export class AddressLimits {
  readonly #limits: AddressLimitValues;
  readonly #clock: () => number;
  readonly #addresses = new Map<string, Addressed>();

  constructor(limits: AddressLimitValues, clock: () => number) {
    this.#limits = limits;
    this.#clock = clock;
  }

  /** Counts a connection of this address, whatever becomes of it; `closed` takes it off again. */
  opened(address: string): AddressVerdict {
    const { connectionsPerAddress } = this.#limits;
    const addressed = this.#at(address);
    addressed.open += 1;
    if (addressed.open > 2 * connectionsPerAddress) return "far-over";
    if (addressed.made.admit() && addressed.open <= connectionsPerAddress) return "admitted";
    return addressed.answered.admit() ? "over" : "far-over";
  }

  householdAt(address: string): Household {
    return this.#at(address);
  }

  closed(address: string): void {
    const known = this.#addresses.get(householdOf(address));
    if (known !== undefined) known.open -= 1;
  }

  /** Forgets addresses of which there is nothing to remember. */
  sweep(): void {
    for (const [key, { open, made, sent, fetched }] of this.#addresses)
      if (open <= 0 && made.isRested && sent.isRested && fetched.isRested) this.#addresses.delete(key);
  }

  #at(address: string): Addressed {
    const key = householdOf(address);
    const known = this.#addresses.get(key);
    if (known !== undefined) return known;
    const { connectionsPerAddress, connectionsPerSecond, guestBytesPerSecond, guestBlobBytesPerSecond } = this.#limits;
    const limitOf = (perSecond: number, burst: number) => new RateLimit(perSecond, burst, this.#clock);
    const addressed: Addressed = {
      open: 0,
      answered: limitOf(answers.perSecond, answers.atOnce),
      made: limitOf(connectionsPerSecond, Math.min(connectionsPerAddress, 2 * connectionsPerSecond)),
      sent: limitOf(guestBytesPerSecond, burstSeconds * guestBytesPerSecond),
      fetched: limitOf(guestBlobBytesPerSecond, burstSeconds * guestBlobBytesPerSecond),
    };
    this.#addresses.set(key, addressed);
    return addressed;
  }
}

/** IPv4 as it is; of IPv6 the first 64 bits: one customer of a provider has all addresses that begin with them (RFC 6177). */
export function householdOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [head = [], tail = []] = address.split("::", 2).map((part) => part.split(":").filter((group) => group !== ""));
  const zeros = new Array<string>(8 - head.length - tail.length).fill("0");
  return `${[...head, ...zeros, ...tail].slice(0, 4).join(":")}::/64`;
}
