/**
 * The way that the messages to one peer take: over the gateway, or over a direct connection while there is one. No change of it loses,
 * doubles or, within a kind, reorders a message:
 *
 * - Up: once all that went over the gateway has left, `moved` follows it, and new messages are held until the peer says over the
 *   connection that it has come. Each direction moves by itself.
 * - Down: who notices that the connection is gone asks the peer over the gateway how many messages had arrived, and sends the others
 *   again there; the peer takes nothing more from the connection once it has answered. So what was sent is kept until it is confirmed.
 */
import { assertNever } from "../../protocol/assert-never.ts";
import { FailureError, failureOf } from "../../protocol/failure.ts";
import type { MessageKind } from "../../protocol/frames.ts";
import type { MinerId } from "../../protocol/ids.ts";
import { encodePathMessage, type PathMessage } from "../../protocol/path-messages.ts";
import type { PeerLink } from "../peer-link.ts";
import type { BudgetClock } from "../traffic/byte-budget.ts";
import type { DirectConnection } from "./direct-connection.ts";

/** For `arrived` to come, past what queues at the gateway, or else the messages go over the gateway after all. */
const moveMs = 10_000;
/** How often it is asked what had arrived, and for how long. */
const askMs = 2000;
const mostAsked = 5;
/** Connections that have ended, whose counts the peer may still ask for. */
const mostRemembered = 8;

interface Letter {
  readonly kind: MessageKind;
  readonly body: Uint8Array;
  readonly signal: AbortSignal | undefined;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** Of the messages that were complete on the connection; null: it was not. */
  number: number | null;
}

type Way =
  | { readonly kind: "relayed" }
  /** Held until the peer has what went over the gateway. */
  | { readonly kind: "moving"; readonly connection: DirectConnection; isAnnounced: boolean }
  | { readonly kind: "direct"; readonly connection: DirectConnection }
  /** Held until it is known what had arrived. */
  | { readonly kind: "returning"; readonly connectionId: string; asked: number };

export interface PeerPathOptions {
  readonly peer: MinerId;
  readonly relay: Pick<PeerLink, "send">;
  readonly clock: BudgetClock;
  /** It goes another way now. */
  readonly changed: () => void;
}

export class PeerPath {
  readonly #options: PeerPathOptions;
  #way: Way = { kind: "relayed" };
  #sinceMs: number;
  /** Works, and is not used yet. */
  #next: DirectConnection | null = null;
  /** Handed to the gateway's link, and not taken by it yet. */
  #leaving = 0;
  /** On the connection, in order of sending, until they are known to have arrived. */
  #unconfirmed: Letter[] = [];
  #held: Letter[] = [];
  /** How many messages came over connections that are over. */
  readonly #ended = new Map<string, number>();
  /** Whose `moved` came before the connection was known here. */
  #movedTo: string | null = null;
  #cancelTimer: () => void = () => {};

  constructor(options: PeerPathOptions) {
    this.#options = options;
    this.#sinceMs = options.clock.nowMs();
  }

  /** The connection that messages take; null: they go over the gateway. */
  get direct(): DirectConnection | null {
    return this.#way.kind === "direct" ? this.#way.connection : null;
  }

  /** Since when it is so, on the clock that was given. */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  /** Nothing is held or waits for confirmation: it may be forgotten. */
  get isIdle(): boolean {
    return this.#way.kind === "relayed" && this.#next === null;
  }

  /** As a `PeerLink` does. */
  send(kind: MessageKind, body: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted) return Promise.reject(cancelled());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const letter: Letter = { kind, body, signal, resolve, reject, number: null };
    const withdraw = () => {
      this.#drop(letter);
      reject(cancelled());
    };
    signal?.addEventListener("abort", withdraw, { once: true });
    this.#dispatch(letter);
    return promise.finally(() => signal?.removeEventListener("abort", withdraw));
  }

  /** There is a connection that works: it takes the place of an older one. */
  opened(connection: DirectConnection): void {
    const used = this.#connection;
    if (this.#next !== null && this.#next !== connection) this.#next.close();
    this.#next = connection;
    if (this.#movedTo === connection.id) connection.sayArrived();
    if (used !== null && used !== connection) used.close();
    else if (this.#way.kind === "relayed") this.#move();
  }

  /** The peer has all that went over the gateway. */
  arrived(connection: DirectConnection): void {
    if (this.#way.kind !== "moving" || this.#way.connection !== connection) return;
    this.#cancelTimer();
    this.#take({ kind: "direct", connection });
    this.#release();
  }

  confirmed(connection: DirectConnection, messages: number): void {
    if (this.direct === connection)
      this.#unconfirmed = this.#unconfirmed.filter(({ number }) => number === null || number > messages);
  }

  closed(connection: DirectConnection): void {
    this.#ended.set(connection.id, connection.takenMessages);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > mostRemembered && oldest !== undefined) this.#ended.delete(oldest);
    if (this.#next === connection) this.#next = null;
    if (this.#connection !== connection) return;
    this.#cancelTimer();
    if (this.#unconfirmed.length === 0) this.#relay();
    else {
      this.#take({ kind: "returning", connectionId: connection.id, asked: 0 });
      this.#ask();
    }
  }

  /** What the peer says over the gateway. `connections`: those with it that are open, or about to be. */
  handle(message: PathMessage, connections: readonly DirectConnection[]): void {
    const named = connections.find(({ id }) => id === message.connection);
    switch (message.type) {
      case "moved":
        if (named === undefined) this.#movedTo = message.connection;
        else named.sayArrived();
        break;
      case "broken":
        named?.close();
        this.#say({
          type: "received",
          connection: message.connection,
          messages: this.#ended.get(message.connection) ?? null,
        });
        break;
      case "received":
        if (this.#way.kind === "returning" && this.#way.connectionId === message.connection)
          this.#return(message.messages);
        break;
      default:
        assertNever(message);
    }
  }

  /** The peer is gone, or this end ends: nothing more will be sent. */
  end(failure: FailureError): void {
    this.#cancelTimer();
    const letters = [...this.#unconfirmed, ...this.#held];
    this.#unconfirmed = [];
    this.#held = [];
    const connections = [this.#connection, this.#next];
    this.#next = null;
    this.#take({ kind: "relayed" });
    for (const connection of connections) connection?.close();
    for (const letter of letters) letter.reject(failure);
  }

  /** In use, or about to be. */
  get #connection(): DirectConnection | null {
    return this.#way.kind === "moving" || this.#way.kind === "direct" ? this.#way.connection : null;
  }

  #dispatch(letter: Letter): void {
    if (this.#way.kind === "relayed") this.#sendRelayed(letter);
    else if (this.#way.kind === "direct") this.#sendDirect(letter, this.#way.connection);
    else this.#held.push(letter);
  }

  #sendRelayed({ kind, body, signal, resolve, reject }: Letter): void {
    const { relay, peer } = this.#options;
    this.#leaving += 1;
    const left = () => {
      this.#leaving -= 1;
      this.#announce();
    };
    relay.send(peer, kind, body, { signal }).then(resolve, reject).finally(left);
  }

  #sendDirect(letter: Letter, connection: DirectConnection): void {
    this.#unconfirmed.push(letter);
    connection.send(letter.kind, letter.body, letter.signal).then(
      (number) => {
        letter.number = number;
        letter.resolve();
      },
      (error) => {
        // What a lost connection did not take is sent again.
        if (failureOf(error)?.code === "unreachable") return;
        this.#drop(letter);
        letter.reject(error);
      },
    );
  }

  #move(): void {
    const connection = this.#next;
    if (connection === null) return;
    this.#next = null;
    this.#take({ kind: "moving", connection, isAnnounced: false });
    this.#announce();
  }

  #announce(): void {
    if (this.#way.kind !== "moving" || this.#way.isAnnounced || this.#leaving > 0) return;
    const { connection } = this.#way;
    this.#way.isAnnounced = true;
    this.#cancelTimer = this.#options.clock.after(moveMs, () => connection.close());
    this.#say({ type: "moved", connection: connection.id });
  }

  #ask(): void {
    if (this.#way.kind !== "returning") return;
    if (this.#way.asked === mostAsked) {
      this.#return(null);
      return;
    }
    this.#way.asked += 1;
    this.#say({ type: "broken", connection: this.#way.connectionId });
    this.#cancelTimer = this.#options.clock.after(askMs, () => this.#ask());
  }

  /** `received` null: nobody knows. Then what was complete is not sent again: it would perhaps come twice. */
  #return(received: number | null): void {
    this.#cancelTimer();
    const arrived = received ?? Number.POSITIVE_INFINITY;
    const again = this.#unconfirmed.filter(({ number }) => number === null || number > arrived);
    this.#unconfirmed = [];
    this.#held = [...again, ...this.#held];
    this.#relay();
  }

  #relay(): void {
    this.#take({ kind: "relayed" });
    this.#release();
    this.#move();
  }

  #release(): void {
    for (const letter of this.#held.splice(0)) this.#dispatch(letter);
  }

  #drop(letter: Letter): void {
    if (letter.number === null) this.#unconfirmed = this.#unconfirmed.filter((other) => other !== letter);
    this.#held = this.#held.filter((other) => other !== letter);
  }

  #say(message: PathMessage): void {
    const { relay, peer } = this.#options;
    // Whoever misses it asks again, or gives the connection up; a peer that is gone the link tells of.
    relay.send(peer, "path", encodePathMessage(message)).catch(() => undefined);
  }

  #take(way: Way): void {
    const wasDirect = this.direct !== null;
    this.#way = way;
    if (wasDirect === (way.kind === "direct")) return;
    this.#sinceMs = this.#options.clock.nowMs();
    this.#options.changed();
  }
}

function cancelled(): FailureError {
  return new FailureError("cancelled", "sending was cancelled");
}
