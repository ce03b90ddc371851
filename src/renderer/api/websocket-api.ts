/** The local API over a WebSocket. Reconnects with back-off for ever, and whenever a delta is missing. */
import { FailureError } from "../../protocol/failure.ts";
import {
  type ApiEvent,
  apiEventSchema,
  apiReplySchema,
  type CommandName,
  type CommandParameters,
  type CommandResult,
  closeCodes,
  commands,
} from "../../protocol/local-api.ts";
import type { Connection, ConnectionLoss, DashboardApi } from "./dashboard-api.ts";
import { retryDelayMs } from "./retry-delay.ts";

interface PendingCall {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class WebSocketApi implements DashboardApi {
  readonly #url: string;
  readonly #connectionListeners = new Set<(connection: Connection) => void>();
  readonly #eventListeners = new Set<(event: ApiEvent) => void>();
  readonly #pending = new Map<number, PendingCall>();
  #connection: Connection = { kind: "connecting" };
  #socket: WebSocket | undefined;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #attempt = 0;
  #nextCall = 1;
  /** Of the last event; undefined until the connection's snapshot is there. */
  #version: number | undefined;

  /** `url`: ws://…/api?token=… */
  constructor(url: string) {
    this.#url = url;
    this.#open();
  }

  call<C extends CommandName>(command: C, parameters: CommandParameters<C>): Promise<CommandResult<C>> {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return Promise.reject(daemonGone());
    const id = this.#nextCall++;
    const schema = commands[command].result;
    return new Promise<unknown>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      socket.send(JSON.stringify({ id, command, parameters }));
    }).then((result) => schema.parse(result) as CommandResult<C>);
  }

  /** A late subscriber gets its snapshot by a new connection: there is one page, and it subscribes once. */
  subscribe(listener: (event: ApiEvent) => void): () => void {
    this.#eventListeners.add(listener);
    if (this.#version !== undefined) this.reconnect();
    return () => this.#eventListeners.delete(listener);
  }

  onConnection(listener: (connection: Connection) => void): () => void {
    this.#connectionListeners.add(listener);
    listener(this.#connection);
    return () => this.#connectionListeners.delete(listener);
  }

  reconnect(): void {
    this.#attempt = 0;
    this.#leave();
    this.#open();
  }

  #open(): void {
    clearTimeout(this.#retryTimer);
    this.#retryTimer = undefined;
    this.#tell({ kind: "connecting" });
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(String(data));
    socket.onclose = ({ code }) => {
      this.#leave();
      if (code === closeCodes.notAuthorised) this.#tell({ kind: "refused" });
      else this.#retryLater(code === closeCodes.serverStopping ? "stopped" : "unreachable");
    };
  }

  #receive(text: string): void {
    let message: unknown;
    try {
      message = JSON.parse(text);
    } catch {
      this.#startAgain("malformed");
      return;
    }
    const event = apiEventSchema.safeParse(message);
    if (event.success) {
      this.#deliver(event.data);
      return;
    }
    const reply = apiReplySchema.safeParse(message);
    if (!reply.success) {
      this.#startAgain("malformed");
      return;
    }
    const { data } = reply;
    if (data.reply === null) return;
    const call = this.#pending.get(data.reply);
    this.#pending.delete(data.reply);
    if (data.ok) call?.resolve(data.result);
    else {
      const { code, message, action, retry } = data.failure;
      call?.reject(new FailureError(code, message, { action, retry }));
    }
  }

  #deliver(event: ApiEvent): void {
    if (event.event === "delta" && event.version !== (this.#version ?? -1) + 1) {
      this.#startAgain("out-of-step");
      return;
    }
    this.#version = event.version;
    for (const listener of this.#eventListeners) listener(event);
    if (event.event === "snapshot") {
      this.#attempt = 0;
      this.#tell({ kind: "open" });
    }
  }

  #startAgain(loss: ConnectionLoss): void {
    this.#leave();
    this.#retryLater(loss);
  }

  #retryLater(loss: ConnectionLoss): void {
    const delayMs = retryDelayMs(this.#attempt++, Math.random());
    this.#retryTimer = setTimeout(() => this.#open(), delayMs);
    this.#tell({ kind: "lost", loss, retryAtMs: Date.now() + delayMs });
  }

  /** Lets go of the present socket, whatever state it is in, and of the calls that waited for it. */
  #leave(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#version = undefined;
    if (socket) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close();
    }
    for (const { reject } of this.#pending.values()) reject(daemonGone());
    this.#pending.clear();
  }

  #tell(connection: Connection): void {
    this.#connection = connection;
    for (const listener of this.#connectionListeners) listener(connection);
  }
}

function daemonGone(): FailureError {
  return new FailureError("unreachable", "the daemon is not connected", { retry: true });
}
