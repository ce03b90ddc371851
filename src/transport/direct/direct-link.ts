/**
 * PeerLink over the gateway, and over direct connections to those peers to which one can be made. Messages never wait for that: they go
 * over the gateway until a connection works, and again when it breaks (`peer-path.ts`). One link serves one session.
 */
import { FailureError } from "../../protocol/failure.ts";
import type { MessageKind } from "../../protocol/frames.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { decodePathMessage, pathMessageSchema } from "../../protocol/path-messages.ts";
import type { PeerLink, PeerMessage } from "../peer-link.ts";
import { Reassembly } from "../reassembly.ts";
import type { BudgetClock } from "../traffic/byte-budget.ts";
import type { LinkMeter } from "../traffic/link-meter.ts";
import type { ConnectionTraffic } from "./connection-pacing.ts";
import { DirectConnection } from "./direct-connection.ts";
import { DirectPeer } from "./direct-peer.ts";
import type { OpenStream } from "./direct-stream.ts";
import { PeerPath } from "./peer-path.ts";
import { UplinkMeter } from "./uplink-meter.ts";
import { UplinkWindow } from "./uplink-window.ts";

/** Who makes connections; `DirectNode` does, in the miner's name. */
export interface Dialer {
  /** From now on connections of these peers are accepted, and of nobody else. */
  admit(peers: ReadonlySet<MinerId>): void;
  /** Called with the connections of others. */
  onStream(handler: (open: OpenStream) => void): void;
  /** Resolves with a stream whose other end has proven to be that peer; rejects with `FailureError` unreachable, also when aborted. */
  dial(peer: MinerId, signal: AbortSignal): Promise<OpenStream>;
  close(): void;
}

/** How the messages to one peer travel at the moment. */
export interface PeerWay {
  readonly minerId: MinerId;
  readonly way: "direct" | "relayed";
  /** On the link's clock. */
  readonly sinceMs: number;
  /** Null: not measured, as over the gateway. */
  readonly roundTripMs: number | null;
}

/** What a link needs of the miner's traffic; `Traffic` has it. */
export interface LinkTraffic extends ConnectionTraffic {
  readonly link: Pick<LinkMeter, "stored">;
}

export interface DirectLinkOptions {
  readonly self: MinerId;
  readonly relay: PeerLink;
  /** Null: all goes over the gateway. */
  readonly dialer: Dialer | null;
  readonly traffic: LinkTraffic;
  readonly clock: BudgetClock;
  readonly log: (text: string) => void;
  /** A peer's message was not usable. */
  readonly dropped: (from: MinerId, failure: FailureError) => void;
}

export class DirectLink implements PeerLink {
  readonly #options: DirectLinkOptions;
  readonly #peers = new Map<MinerId, DirectPeer>();
  readonly #reassembly: Reassembly;
  readonly #uplink: UplinkWindow;
  #admitted: ReadonlySet<MinerId> = new Set();
  #closed = false;
  /** Of connections that have closed. */
  readonly #over = { sentBytes: 0, receivedBytes: 0 };
  #onMessage: (message: PeerMessage) => void = () => {};
  #onPeerLost: (peer: MinerId) => void = () => {};

  constructor(options: DirectLinkOptions) {
    this.#options = options;
    const { relay, dialer, clock, traffic } = options;
    const meter = new UplinkMeter(clock, (bytes, elapsedMs) => traffic.link.stored(bytes, elapsedMs));
    this.#uplink = new UplinkWindow(clock, (bytes, isFull) => meter.carried(bytes, isFull));
    this.#reassembly = new Reassembly({ onDropped: (from, failure) => this.#dropped(from, failure) });
    relay.onMessage((message) => this.#received(message));
    relay.onPeerLost((peer) => this.#lost(peer));
    dialer?.onStream((open) => this.#accept(open));
  }

  get traffic(): PeerLink["traffic"] {
    const all = [this.#options.relay, ...this.#connections].map(({ traffic }) => traffic).concat(this.#over);
    return {
      sentBytes: all.reduce((sum, { sentBytes }) => sum + sentBytes, 0),
      receivedBytes: all.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0),
    };
  }

  /** Of all peers that there have been messages with. */
  get ways(): readonly PeerWay[] {
    return [...this.#peers].map(([minerId, { path }]) => ({
      minerId,
      way: path.direct === null ? "relayed" : "direct",
      sinceMs: path.sinceMs,
      roundTripMs: path.direct?.roundTripMs ?? null,
    }));
  }

  onMessage(handler: (message: PeerMessage) => void): void {
    this.#onMessage = handler;
  }

  onPeerLost(handler: (peer: MinerId) => void): void {
    this.#onPeerLost = handler;
  }

  send(
    to: MinerId,
    kind: MessageKind,
    body: Uint8Array,
    options: { readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    const { relay, dialer } = this.#options;
    if (dialer === null || this.#closed) return relay.send(to, kind, body, options);
    const peer = this.#peer(to);
    this.#dial(to, peer);
    return peer.path.send(kind, body, options.signal);
  }

  /** These are in the epoch with this miner; connections with others end. */
  admit(peers: ReadonlySet<MinerId>): void {
    this.#admitted = peers;
    this.#options.dialer?.admit(peers);
    for (const [minerId, peer] of this.#peers) {
      if (peers.has(minerId)) continue;
      peer.disconnect();
      if (peer.path.isIdle) this.#peers.delete(minerId);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const failure = new FailureError("unreachable", "the connection is closed", { retry: true });
    for (const peer of this.#peers.values()) peer.end(failure);
    this.#peers.clear();
    this.#options.dialer?.close();
    this.#options.relay.close();
  }

  get #connections(): readonly DirectConnection[] {
    return [...this.#peers.values()].flatMap(({ connections }) => [...connections]);
  }

  #peer(minerId: MinerId): DirectPeer {
    const known = this.#peers.get(minerId);
    if (known !== undefined) return known;
    const { relay, clock, log } = this.#options;
    const pathOf = (changed: () => void) => new PeerPath({ peer: minerId, relay, clock, changed });
    const peer = new DirectPeer(clock, pathOf, (isDirect) =>
      log(`Messages to ${minerId.slice(0, 8)} go ${isDirect ? "directly" : "over the gateway"}.`),
    );
    this.#peers.set(minerId, peer);
    return peer;
  }

  /** Of two peers the one with the lesser key dials, once they have something to say to each other. */
  #dial(minerId: MinerId, peer: DirectPeer): void {
    const { self, dialer } = this.#options;
    const isDue = peer.isAtRest && self < minerId && this.#admitted.has(minerId);
    if (dialer === null || this.#closed || !isDue) return;
    const signal = peer.beginDialling();
    dialer.dial(minerId, signal).then(
      (open) => {
        signal.addEventListener("abort", () => open.stream.destroy());
        if (signal.aborted) open.stream.destroy();
        this.#connect(open, peer);
      },
      () => this.#dialLater(minerId, peer),
    );
  }

  /** Unless it has been abandoned. */
  #dialLater(minerId: MinerId, peer: DirectPeer): void {
    if (this.#closed || !this.#admitted.has(minerId) || peer.connections.size > 0) return;
    peer.retry(() => this.#dial(minerId, peer));
  }

  #accept(open: OpenStream): void {
    const { peer: minerId, stream } = open;
    const isShunned = this.#peers.get(minerId)?.isShunned ?? false;
    if (this.#closed || isShunned || !this.#admitted.has(minerId)) stream.destroy();
    else this.#connect(open, this.#peer(minerId));
  }

  #connect(open: OpenStream, peer: DirectPeer): void {
    const { path, connections } = peer;
    const { traffic, clock } = this.#options;
    const connection: DirectConnection = new DirectConnection(
      open,
      { traffic, uplink: this.#uplink, clock, reassembly: this.#reassembly },
      {
        opened: () => peer.connected(connection),
        message: (message) => this.#onMessage({ ...message, isDirect: true }),
        confirmed: (messages) => path.confirmed(connection, messages),
        arrived: () => path.arrived(connection),
        refused: (failure) => this.#dropped(open.peer, failure),
        closed: () => {
          connections.delete(connection);
          this.#over.sentBytes += connection.traffic.sentBytes;
          this.#over.receivedBytes += connection.traffic.receivedBytes;
          path.closed(connection);
          this.#dialLater(open.peer, peer);
        },
      },
    );
    connections.add(connection);
  }

  #received(message: PeerMessage): void {
    const { from, kind, body } = message;
    if (this.#options.dialer !== null && this.#admitted.has(from)) this.#dial(from, this.#peer(from));
    if (kind === "path") this.#handlePath(from, body);
    else this.#onMessage(message);
  }

  #handlePath(from: MinerId, body: Uint8Array): void {
    try {
      const { path, connections } = this.#peer(from);
      path.handle(decodePathMessage(pathMessageSchema, body), [...connections]);
    } catch (error) {
      if (!(error instanceof FailureError)) throw error;
      this.#dropped(from, error);
    }
  }

  #dropped(from: MinerId, failure: FailureError): void {
    this.#options.dropped(from, failure);
    const peer = this.#peers.get(from);
    if (peer === undefined) return;
    // Where memory was full, others may have filled it.
    if (failure.failure.code !== "memory-full") peer.shun();
    // Both ends count what came; after a loss they would count differently.
    for (const connection of peer.connections) connection.close();
  }

  #lost(minerId: MinerId): void {
    const gone = new FailureError("unreachable", `miner ${minerId} is gone`, { retry: true });
    this.#peers.get(minerId)?.end(gone);
    this.#onPeerLost(minerId);
  }
}
