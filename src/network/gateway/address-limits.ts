/** Keeps one address from taking everybody's place: how many connections it has open, and how many it makes in what time. */
import { isIPv6 } from "node:net";
import { RateLimit } from "../rate-limit.ts";

export interface AddressLimitValues {
  /** Open at once. A household's computers share one address. */
  readonly connectionsPerAddress: number;
  /** Made on average; as many at once as may be open. */
  readonly connectionsPerSecond: number;
}

export const defaultAddressLimits: AddressLimitValues = { connectionsPerAddress: 512, connectionsPerSecond: 50 };

/** `over`: one more than it may have. `far-over`: so many that it gets no answer either. */
export type AddressVerdict = "admitted" | "over" | "far-over";

interface Addressed {
  open: number;
  readonly made: RateLimit;
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
    const { connectionsPerAddress, connectionsPerSecond } = this.#limits;
    const key = householdOf(address);
    const known = this.#addresses.get(key);
    const made = known?.made ?? new RateLimit(connectionsPerSecond, connectionsPerAddress, this.#clock);
    const open = (known?.open ?? 0) + 1;
    this.#addresses.set(key, { open, made });
    if (open > 2 * connectionsPerAddress) return "far-over";
    return made.admit() && open <= connectionsPerAddress ? "admitted" : "over";
  }

  closed(address: string): void {
    const known = this.#addresses.get(householdOf(address));
    if (known !== undefined) known.open -= 1;
  }

  /** Forgets addresses of which there is nothing to remember. */
  sweep(): void {
    for (const [key, { open, made }] of this.#addresses) if (open <= 0 && made.isRested) this.#addresses.delete(key);
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
