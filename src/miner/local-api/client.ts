/**
 * The local API from another program on this computer, over the WebSocket: what the CLI, the Electron shell and tests use.
 * The connection ends when the daemon does; whoever wants to go on connects again.
 */
import { text as readText } from "node:stream/consumers";
import { WebSocket } from "ws";
import { z } from "zod";
import { type AppView, applyApiEvent } from "../../protocol/app-view.ts";
import { type Failure, FailureError, failureSchema } from "../../protocol/failure.ts";
import {
  type ApiEvent,
  type ApiReply,
  apiEventSchema,
  apiReplySchema,
  type CommandName,
  type CommandParameters,
  type CommandResult,
  closeCodes,
  commands,
  type DaemonAddress,
  type LocalApi,
} from "../../protocol/local-api.ts";
import { parseJson } from "../json.ts";

export interface LocalApiClient extends LocalApi {
  close(): void;
  /** Resolves when the connection is over, with the reason. */
  readonly closed: Promise<Failure>;
}

const messageSchema = z.union([apiEventSchema, apiReplySchema]);

/** Resolves once the first snapshot is here. Rejects with `FailureError`: unreachable, timed-out, or why the daemon refused. */
export async function connectLocalApi(
  address: Pick<DaemonAddress, "url" | "token">,
  { timeoutMs = 5000 }: { readonly timeoutMs?: number } = {},
): Promise<LocalApiClient> {
  const client = new SocketClient(address, timeoutMs);
  await client.ready;
  return client;
}

interface Call {
  readonly command: CommandName;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: FailureError) => void;
}

class SocketClient implements LocalApiClient {
  readonly ready: Promise<void>;
  readonly closed: Promise<Failure>;
  readonly #address: Pick<DaemonAddress, "url" | "token">;
  readonly #timeoutMs: number;
  readonly #calls = new Map<number, Call>();
  readonly #listeners = new Set<(event: ApiEvent) => void>();
  readonly #opening = Promise.withResolvers<void>();
  readonly #closing = Promise.withResolvers<Failure>();
  #socket: WebSocket;
  #view: AppView | null = null;
  #nextId = 1;
  #ended: Failure | undefined;

  constructor(address: Pick<DaemonAddress, "url" | "token">, timeoutMs: number) {
    this.#address = address;
    this.#timeoutMs = timeoutMs;
    this.ready = this.#opening.promise;
    this.closed = this.#closing.promise;
    this.#socket = this.#open();
    const timer = setTimeout(() => this.#end(timedOut(address.url, timeoutMs)), timeoutMs);
    this.ready.then(
      () => clearTimeout(timer),
      () => clearTimeout(timer),
    );
  }

  async call<C extends CommandName>(command: C, parameters: CommandParameters<C>): Promise<CommandResult<C>> {
    if (this.#ended !== undefined) throw errorOf(this.#ended);
    if (this.#socket.readyState !== WebSocket.OPEN) throw errorOf(reopening);
    const id = this.#nextId++;
    const result = await new Promise<unknown>((resolve, reject) => {
      this.#calls.set(id, { command, resolve, reject });
      this.#socket.send(JSON.stringify({ id, command, parameters }));
    });
    const parsed = commands[command].result.safeParse(result);
    if (!parsed.success) throw otherVersion(`its answer to ${command}`);
    return parsed.data as CommandResult<C>; // parsed with this command's own schema
  }

  subscribe(listener: (event: ApiEvent) => void): () => void {
    // A wrapper of its own per subscription, so that one function may subscribe twice.
    const deliver = (event: ApiEvent) => listener(event);
    let cancelled = false;
    queueMicrotask(() => {
      if (cancelled || this.#ended !== undefined) return;
      if (this.#view !== null) deliver({ event: "snapshot", ...this.#view });
      this.#listeners.add(deliver);
    });
    return () => {
      cancelled = true;
      this.#listeners.delete(deliver);
    };
  }

  close(): void {
    this.#end(new FailureError("cancelled", "this program closed the connection").failure);
  }

  #open(): WebSocket {
    const url = new URL("/api", this.#address.url.replace(/^http/, "ws"));
    const socket = new WebSocket(url, {
      headers: { authorization: `Bearer ${this.#address.token}` },
      perMessageDeflate: false,
      handshakeTimeout: this.#timeoutMs,
    });
    const end = (failure: Failure) => {
      if (socket === this.#socket) this.#end(failure);
    };
    socket.on("message", (data) => {
      if (socket === this.#socket) this.#receive(data.toString());
    });
    socket.on("unexpected-response", (_request, response) => {
      readText(response).then(
        (body) => end(refusalIn(body) ?? unreachable(this.#address.url)),
        () => end(unreachable(this.#address.url)),
      );
    });
    socket.on("error", () => end(unreachable(this.#address.url)));
    socket.on("close", (code) => {
      const what = code === closeCodes.serverStopping ? "the daemon stopped" : "the daemon ended the connection";
      end(new FailureError("unreachable", what, { retry: true }).failure);
    });
    return socket;
  }

  #receive(text: string): void {
    const message = messageSchema.safeParse(parseJson(text));
    if (!message.success) this.#end(otherVersion("what it sends").failure);
    else if ("reply" in message.data) this.#settle(message.data);
    else this.#follow(message.data);
  }

  #settle(reply: ApiReply): void {
    if (reply.reply === null) {
      if (!reply.ok) this.#end(reply.failure);
      return;
    }
    const call = this.#calls.get(reply.reply);
    this.#calls.delete(reply.reply);
    if (reply.ok) call?.resolve(reply.result);
    else call?.reject(errorOf(reply.failure));
  }

  #follow(event: ApiEvent): void {
    this.#view = applyApiEvent(this.#view, event);
    if (this.#view === null) {
      this.#reopen();
      return;
    }
    this.#opening.resolve();
    for (const listener of this.#listeners) listener(event);
  }

  /** A delta is missing: a new connection begins with a whole snapshot. Calls under way cannot be answered any more. */
  #reopen(): void {
    this.#rejectCalls(reopening);
    const old = this.#socket;
    this.#socket = this.#open();
    old.terminate();
  }

  #end(failure: Failure): void {
    if (this.#ended !== undefined) return;
    this.#ended = failure;
    this.#opening.reject(errorOf(failure));
    this.#rejectCalls(failure);
    this.#listeners.clear();
    this.#socket.close();
    this.#closing.resolve(failure);
  }

  #rejectCalls(failure: Failure): void {
    for (const call of this.#calls.values()) call.reject(errorOf(failure));
    this.#calls.clear();
  }
}

const reopening = new FailureError("unreachable", "the connection is being opened anew", { retry: true }).failure;

function errorOf({ code, message, action, retry }: Failure): FailureError {
  return new FailureError(code, message, { action, retry });
}

function unreachable(url: string): Failure {
  const action = "Is it running? tah status says so; tah mine starts it.";
  return new FailureError("unreachable", `no daemon answers at ${url}`, { action, retry: true }).failure;
}

function timedOut(url: string, timeoutMs: number): Failure {
  return new FailureError("timed-out", `the daemon at ${url} did not answer in ${timeoutMs} ms`, { retry: true })
    .failure;
}

function otherVersion(what: string): FailureError {
  return new FailureError("unsupported-version", `the daemon is of another version: ${what} is not understood here`, {
    action: "Restart it: tah stop, then tah mine.",
  });
}

function refusalIn(body: string): Failure | undefined {
  return z.object({ failure: failureSchema }).safeParse(parseJson(body)).data?.failure;
}
