/**
 * Keeps a session with one network: connects, and connects again with growing pauses whenever the connection is lost, until
 * it is closed. This folder knows the wire; what the messages mean for training is `../flow`'s business.
 */

import type { ClientMessage } from "../../protocol/client-messages.ts";
import { type Failure, failureText } from "../../protocol/failure.ts";
import type { GatewayMessage } from "../../protocol/gateway-messages.ts";
import type { FrameLink } from "../../transport/frame-link.ts";
import type { Traffic } from "../../transport/traffic/traffic.ts";
import { DropLog } from "../drop-log.ts";
import { backOffMs } from "./back-off.ts";
import type { Clock } from "./clock.ts";
import { Connection, type Credentials, type GatewayAddress, type Welcome } from "./connection.ts";

export interface SessionOptions extends GatewayAddress {
  readonly credentials: Credentials;
  readonly clock: Clock;
  readonly traffic: Traffic;
  readonly log: (level: "debug" | "info" | "warning", text: string) => void;
}

export interface SessionHandlers {
  opened(link: FrameLink, welcome: Welcome): void;
  message(message: GatewayMessage): void;
  /** The connection is lost or could not be made; the next attempt follows by itself. */
  lost(failure: Failure): void;
}

export class Session {
  readonly #options: SessionOptions;
  readonly #handlers: SessionHandlers;
  readonly #drops: DropLog;
  #connection: Connection | null = null;
  #failuresInRow = 0;
  #cancelPause: () => void = () => {};
  #closed = false;
  #blobToken = "";
  #networkId = "";

  constructor(options: SessionOptions, handlers: SessionHandlers) {
    this.#options = options;
    this.#handlers = handlers;
    this.#drops = new DropLog((text) => options.log("warning", text));
  }

  /** Of the current or the last connection. */
  get blobToken(): string {
    return this.#blobToken;
  }

  /** Of the current or the last connection: the network's public key, which its receipts are signed with. */
  get networkId(): string {
    return this.#networkId;
  }

  open(): void {
    this.#connectAfterPause();
  }

  /** False when there is no session: after `lost`, everything starts over with `opened`. */
  send(message: ClientMessage): boolean {
    return this.#connection?.send(message) ?? false;
  }

  close(): void {
    this.#closed = true;
    this.#cancelPause();
    this.#connection?.close();
  }

  #connectAfterPause(): void {
    const { clock } = this.#options;
    this.#cancelPause = clock.after(backOffMs(this.#failuresInRow, clock.random()), () => this.#connect());
  }

  #connect(): void {
    const { credentials, clock, traffic, log, ...address } = this.#options;
    const connection = new Connection(
      address,
      credentials,
      {
        opened: (welcome) => {
          this.#failuresInRow = 0;
          this.#blobToken = welcome.blobToken;
          this.#networkId = connection.networkId;
          log("info", `Connected to ${address.url}.`);
          this.#handlers.opened(connection.link, welcome);
        },
        message: (message) => this.#handlers.message(message),
        frameDropped: (from, { message }) => this.#drops.dropped(from, message),
        closed: (failure) => this.#lost(failure),
      },
      clock,
      traffic,
    );
    this.#connection = connection;
  }

  #lost(failure: Failure): void {
    this.#connection = null;
    if (this.#closed) return;
    this.#options.log("warning", `No connection to ${this.#options.url}: ${failureText(failure)}`);
    this.#handlers.lost(failure);
    // What trying again will hardly mend is tried again seldom.
    this.#failuresInRow = failure.retry ? this.#failuresInRow + 1 : Number.POSITIVE_INFINITY;
    this.#connectAfterPause();
  }
}
