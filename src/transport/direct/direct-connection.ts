/**
 * One direct connection to one peer: frames as over the gateway, and between them what the two ends tell each other. UDX takes whatever
 * comes and has no receive window, so there is one here: a sender may send as many bytes as it was granted, and the receiver grants more
 * as it takes them and its download limit allows. A peer that sends more than that is cut off.
 */
import type { RawStream } from "hyperdht";
import { FailureError } from "../../protocol/failure.ts";
import { frameHeaderBytes, isFrame, type MessageKind, maxChunkBytes, readdressFrame } from "../../protocol/frames.ts";
import type { MinerId } from "../../protocol/ids.ts";
import {
  type ConnectionMessage,
  connectionMessageSchema,
  decodePathMessage,
  encodePathMessage,
} from "../../protocol/path-messages.ts";
import { FrameLink } from "../frame-link.ts";
import type { PeerLink, PeerMessage } from "../peer-link.ts";
import type { Reassembly } from "../reassembly.ts";
import type { BudgetClock } from "../traffic/byte-budget.ts";
import { type ConnectionTraffic, pacingOf } from "./connection-pacing.ts";
import { countedDatagrams, wireBytesOf } from "./datagram-bytes.ts";
import type { DirectStream, OpenStream } from "./direct-stream.ts";
import { GrantedSocket } from "./granted-socket.ts";
import type { UplinkLane } from "./uplink-lane.ts";
import type { UplinkWindow } from "./uplink-window.ts";

/** What may be on its way to this end: 80 MB/s at a round trip of 100 ms. */
const widestWindowBytes = 8 << 20;
const narrowestWindowBytes = 128 << 10;
/** Under a download limit, what may come without having been waited for. */
const windowMs = 250;
/** A sender that is granted one more byte may send one more frame. */
const overshootBytes = maxChunkBytes + frameHeaderBytes;
const checkMs = 500;
/** Messages are kept by who sent them until they are confirmed; each confirmation takes two packets. */
const confirmMs = 200;
/**
 * Packets are acknowledged at once, and come every second at least (`direct-node.ts`); a peer that owes an answer and sends none for so
 * long, and for so many round trips where the line is slow, is gone.
 */
const shortestSilenceMs = 3000;
const longestSilenceMs = 10_000;
const silentRoundTrips = 10;

export interface ConnectionOptions {
  readonly traffic: ConnectionTraffic;
  /** Of all connections. */
  readonly uplink: UplinkWindow;
  readonly reassembly: Reassembly;
  readonly clock: BudgetClock;
}

export interface ConnectionHandlers {
  /** It works in both directions. */
  opened(): void;
  message(message: PeerMessage): void;
  /** The first so many messages have arrived. */
  confirmed(messages: number): void;
  /** The peer has all that went over the gateway. */
  arrived(): void;
  /** The peer sent what it must not; `closed` follows. */
  refused(failure: FailureError): void;
  /** Called once; it never carries anything again. */
  closed(): void;
}

export class DirectConnection {
  readonly peer: MinerId;
  /** The same at both ends. */
  readonly id: string;
  readonly #stream: DirectStream;
  readonly #rawStream: RawStream;
  readonly #traffic: ConnectionTraffic;
  readonly #reassembly: Reassembly;
  readonly #clock: BudgetClock;
  readonly #handlers: ConnectionHandlers;
  readonly #uplink: UplinkWindow;
  readonly #lane: UplinkLane;
  readonly #socket: GrantedSocket;
  readonly #link: FrameLink;
  #state: "opening" | "open" | "closed" = "opening";
  /** To the peer: begun, complete, and known to have arrived. */
  #begunMessages = 0;
  #sentMessages = 0;
  #confirmedMessages = 0;
  /** From the peer: what it sent, and what it was told. */
  #takenBytes = 0;
  #takenMessages = 0;
  #grantedBytes = 0;
  #toldMessages = 0;
  #isGrantDue = false;
  #cancelGrant: () => void = () => {};
  #isConfirmationDue = false;
  #cancelConfirmation: () => void = () => {};
  #cancelCheck: () => void = () => {};
  #heardPackets = 0;
  /** In checks, so that a process that stood still does not take its own silence for the peer's. */
  #silentMs = 0;

  constructor({ stream, rawStream, peer, id }: OpenStream, options: ConnectionOptions, handlers: ConnectionHandlers) {
    const { traffic, uplink, reassembly, clock } = options;
    this.peer = peer;
    this.id = id;
    this.#stream = stream;
    this.#rawStream = rawStream;
    this.#traffic = traffic;
    this.#uplink = uplink;
    this.#lane = uplink.open(rawStream);
    this.#reassembly = reassembly;
    this.#clock = clock;
    this.#handlers = handlers;
    this.#socket = new GrantedSocket(stream);
    this.#link = new FrameLink(this.#socket, { pacing: pacingOf(traffic, uplink, this.#lane), reassembly });
    this.#link.onMessage((message) => {
      this.#takenMessages += 1;
      handlers.message(message);
    });
    stream.on("data", (bytes) => this.#received(bytes));
    stream.on("drain", () => this.#socket.drained());
    stream.on("error", () => this.close());
    stream.on("close", () => this.close());
    traffic.watch(countedDatagrams(rawStream, (closed) => stream.once("close", closed)));
    this.#grant();
    this.#checkSoon();
  }

  /** Complete messages that have come. */
  get takenMessages(): number {
    return this.#takenMessages;
  }

  /** As of a `PeerLink`. */
  get traffic(): PeerLink["traffic"] {
    return this.#link.traffic;
  }

  /** Null: not measured. */
  get roundTripMs(): number | null {
    return this.#state === "open" ? this.#rawStream.rtt : null;
  }

  /**
   * As a `PeerLink` does. Resolves with how many messages were complete on this connection with this one; both ends count the same.
   */
  async send(kind: MessageKind, body: Uint8Array, signal: AbortSignal | undefined): Promise<number> {
    this.#begunMessages += 1;
    try {
      await this.#link.send(this.peer, kind, body, { signal });
    } catch (error) {
      this.#begunMessages -= 1;
      throw error;
    }
    this.#sentMessages += 1;
    return this.#sentMessages;
  }

  /** All that the peer sent over the gateway is here. */
  sayArrived(): void {
    this.#write({ type: "arrived" });
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#cancelGrant();
    this.#cancelConfirmation();
    this.#cancelCheck();
    this.#link.close();
    this.#uplink.close(this.#lane);
    this.#reassembly.forgetPeer(this.peer);
    this.#stream.destroy();
    this.#handlers.closed();
  }

  #received(bytes: Buffer): void {
    if (this.#state === "closed") return;
    try {
      if (isFrame(bytes)) this.#take(bytes);
      else this.#handle(decodePathMessage(connectionMessageSchema, bytes));
    } catch (error) {
      if (!(error instanceof FailureError)) throw error;
      this.#handlers.refused(error);
      this.close(); // whoever sends this is no miner of ours
    }
  }

  #take(bytes: Buffer): void {
    this.#takenBytes += bytes.length;
    if (bytes.length < frameHeaderBytes || this.#takenBytes > this.#grantedBytes + overshootBytes)
      throw new FailureError("unexpected-message", "Less than a frame, or more bytes than were granted.");
    const { along, against } = wireBytesOf(bytes.length);
    this.#traffic.download.spend(along);
    this.#traffic.upload.spend(against);
    readdressFrame(bytes, this.peer);
    this.#link.receive(bytes);
    this.#grantSoon();
  }

  #handle(message: ConnectionMessage): void {
    if (message.type === "arrived") {
      this.#handlers.arrived();
      return;
    }
    if (message.messages > this.#sentMessages)
      throw new FailureError("unexpected-message", "More messages than were sent have arrived.");
    this.#confirm(message.messages);
    if (this.#state === "opening") {
      this.#state = "open";
      this.#handlers.opened();
    }
    this.#socket.grant(message.bytes);
  }

  #confirm(messages: number): void {
    if (messages <= this.#confirmedMessages) return;
    this.#confirmedMessages = messages;
    this.#handlers.confirmed(messages);
  }

  /** Once for all that comes at once; what only confirms messages can wait for more of them. */
  #grantSoon(): void {
    if (this.#isHalfUsed) {
      if (this.#isGrantDue) return;
      this.#isGrantDue = true;
      setImmediate(() => this.#grantWhenOpen());
    } else if (this.#takenMessages > this.#toldMessages && !this.#isConfirmationDue) {
      this.#isConfirmationDue = true;
      this.#cancelConfirmation = this.#clock.after(confirmMs, () => this.#grantWhenOpen());
    }
  }

  #grantWhenOpen(): void {
    const { download } = this.#traffic;
    if (download.isOpen) this.#grant();
    else if (this.#state !== "closed") this.#cancelGrant = download.whenOpen("urgent", () => this.#grant());
  }

  get #isHalfUsed(): boolean {
    return this.#grantedBytes - this.#takenBytes <= this.#windowBytes / 2;
  }

  #grant(): void {
    this.#cancelConfirmation();
    this.#isConfirmationDue = false;
    this.#isGrantDue = false;
    if (!this.#isHalfUsed && this.#takenMessages === this.#toldMessages) return;
    this.#grantedBytes = Math.max(this.#grantedBytes, this.#takenBytes + this.#windowBytes);
    this.#toldMessages = this.#takenMessages;
    this.#write({ type: "granted", bytes: this.#grantedBytes, messages: this.#takenMessages });
  }

  get #windowBytes(): number {
    const rate = this.#traffic.download.bytesPerSecond;
    if (rate === null) return widestWindowBytes;
    return Math.round(Math.min(widestWindowBytes, Math.max(narrowestWindowBytes, (rate * windowMs) / 1000)));
  }

  #write(message: ConnectionMessage): void {
    if (this.#state !== "closed") this.#stream.write(encodePathMessage(message));
  }

  #checkSoon(): void {
    this.#cancelCheck = this.#clock.after(checkMs, () => this.#check());
  }

  #check(): void {
    const packets = this.#rawStream.packetsReceived;
    const isOwed = this.#begunMessages > this.#confirmedMessages;
    const isHeard = this.#state === "open" && (packets !== this.#heardPackets || !isOwed);
    this.#heardPackets = packets;
    this.#silentMs = isHeard ? 0 : this.#silentMs + checkMs;
    if (this.#silentMs >= this.#patienceMs) this.close();
    else this.#checkSoon();
  }

  get #patienceMs(): number {
    const slowMs = silentRoundTrips * (this.roundTripMs ?? 0);
    return Math.min(longestSilenceMs, Math.max(shortestSilenceMs, slowMs));
  }
}
