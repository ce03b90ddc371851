/**
 * Looks at every connection before anything is read from it. One too many from an address is answered by 429, or not at all where there
 * are far too many, so that a flood costs little memory and the others their place.
 */
import type { IncomingMessage } from "node:http";
import { isIP, type Socket } from "node:net";
import { isLoopback } from "../../transport/loopback.ts";
import { AddressLimits, type AddressLimitValues, type Household } from "./address-limits.ts";
import type { Refusals } from "./refusals.ts";

/** For one that is refused to hear it. */
const refusedMs = 2000;

export interface FrontDoorOptions {
  readonly limits: AddressLimitValues;
  /** Whether all connections come from a proxy on this computer, which says on whose behalf. */
  readonly behindProxy: boolean;
  readonly refusals: Refusals;
  readonly clock: () => number;
}

export class FrontDoor {
  readonly #behindProxy: boolean;
  readonly #refusals: Refusals;
  readonly #limits: AddressLimits;
  /** By their remote ends, since behind TLS a request's socket is not the one that connected. */
  readonly #refused = new Set<string>();

  constructor({ limits, behindProxy, refusals, clock }: FrontDoorOptions) {
    this.#behindProxy = behindProxy;
    this.#refusals = refusals;
    this.#limits = new AddressLimits(limits, clock);
  }

  connected(socket: Socket): void {
    const address = socket.remoteAddress;
    if (address === undefined || (this.#behindProxy && isLoopback(address))) return;
    this.#take(socket, address);
  }

  /** Whether this request for a session may be answered by one. */
  admits(request: IncomingMessage): boolean {
    const address = this.#forwardedAddress(request);
    if (address !== undefined) this.#take(request.socket, address);
    return !this.isRefused(request.socket);
  }

  /** Of who asks, as far as it is known. */
  addressOf(request: IncomingMessage): string {
    return this.#forwardedAddress(request) ?? request.socket.remoteAddress ?? "";
  }

  /** Whose clients send this request. */
  householdOf(request: IncomingMessage): Household {
    return this.#limits.householdAt(this.addressOf(request));
  }

  isRefused(socket: Socket): boolean {
    return this.#refused.has(nameOf(socket));
  }

  sweep(): void {
    this.#limits.sweep();
  }

  #forwardedAddress({ headers, socket }: IncomingMessage): string | undefined {
    return this.#behindProxy && isLoopback(socket.remoteAddress) ? forwardedFor(headers) : undefined;
  }

  #take(socket: Socket, address: string): void {
    const verdict = this.#limits.opened(address);
    socket.once("close", () => this.#limits.closed(address));
    if (verdict === "admitted") return;
    this.#refusals.count("too-many-connections");
    if (verdict === "far-over") {
      socket.destroy();
      return;
    }
    const name = nameOf(socket);
    this.#refused.add(name);
    const patience = setTimeout(() => socket.destroy(), refusedMs);
    socket.once("close", () => {
      clearTimeout(patience);
      this.#refused.delete(name);
    });
  }
}

function nameOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`;
}

/** The last one is what the proxy itself saw; those before it are hearsay. */
function forwardedFor(headers: IncomingMessage["headers"]): string | undefined {
  const last = String(headers["x-forwarded-for"] ?? "")
    .split(",")
    .at(-1)
    ?.trim();
  return last !== undefined && isIP(last) !== 0 ? last : undefined;
}
