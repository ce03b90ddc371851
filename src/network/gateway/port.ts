/** The gateway's port: which connections and requests get as far as a session, a blob, a measurement or the public health report, and which do not. */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import type { FailureCode } from "../../protocol/failure.ts";
import { frameHeaderBytes, maxChunkBytes } from "../../protocol/frames.ts";
import type { NetworkHealth } from "../../protocol/network-health.ts";
import type { AddressLimitValues, Household } from "./address-limits.ts";
import { isForeignPage } from "./foreign-page.ts";
import { FrontDoor } from "./front-door.ts";
import type { SessionConnection } from "./reading.ts";
import type { Refusals } from "./refusals.ts";
import { createServer, listen } from "./server.ts";
import type { TlsFiles } from "./tls-files.ts";

export interface PortOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Null or undefined: nothing is encrypted, or a proxy does it. */
  readonly tls?: TlsFiles | null;
  readonly behindProxy?: boolean;
  readonly limits: AddressLimitValues;
  readonly refusals: Refusals;
  readonly clock: () => number;
  readonly log: (text: string) => void;
  readonly onSession: (connection: SessionConnection) => void;
  readonly onBlobRequest: (request: BlobRequest) => void;
  /** `address`: of who asks. */
  readonly onLineRequest: (request: IncomingMessage, response: ServerResponse, address: string, name: string) => void;
  readonly health: () => NetworkHealth;
}

/**
 * Whoever has all bytes of an answer may ask for more before the answer has ended here. A third request before the first one's answer is
 * one that did not wait.
 */
const mostUnanswered = 2;

/** An address may open a hundred connections again by then. */
const retryAfterSeconds = "2";

/** All requests that have come by then are looked at, more than a thousand perhaps: it costs the address so many further connections. */
const pipelinedConnections = 50;

export interface BlobRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly name: string;
  readonly household: Household;
}

/** Twice the largest frame: what is merely too large gets a typed answer; beyond that the WebSocket closes (1009). */
const maxWebSocketMessageBytes = 2 * (maxChunkBytes + frameHeaderBytes);

/** What an HTTP answer refuses; other answers refuse nothing. One connection too many is counted at the door. */
const refusalOf: Readonly<Record<number, FailureCode>> = {
  400: "malformed-message",
  401: "not-authorised",
  403: "not-authorised",
  413: "message-too-large",
  422: "blob-corrupt",
};

export class Port {
  readonly #options: PortOptions;
  readonly #door: FrontDoor;
  readonly #http: Server;
  /** Requests of each connection that are not answered yet. */
  readonly #unanswered = new WeakMap<Socket, number>();
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    // The session's answers say more.
    autoPong: false,
    maxPayload: maxWebSocketMessageBytes,
  });

  /** Throws `FailureError` (file-unreadable, invalid-option) when the certificate cannot be used. */
  constructor(options: PortOptions) {
    const { tls = null, behindProxy = false, limits, refusals, clock, log } = options;
    this.#options = options;
    this.#door = new FrontDoor({ limits, behindProxy, refusals, clock });
    this.#http = createServer(tls, log);
    this.#http.on("connection", (socket: Socket) => this.#door.connected(socket));
    this.#http.on("drop", () => refusals.count("too-many-connections"));
    this.#http.on("request", (request: IncomingMessage, response: ServerResponse) => this.#serve(request, response));
    this.#http.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) =>
      this.#upgrade(request, socket, head),
    );
    this.#http.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
      if (error.code?.startsWith("HPE_")) refusals.count("malformed-message");
      if (error.code === "ERR_HTTP_REQUEST_TIMEOUT") refusals.count("timed-out");
      socket.destroy();
    });
  }

  get number(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  /** Rejects with `FailureError`: port-in-use, invalid-option when the host cannot be listened on. */
  async listen(onError: (error: unknown) => void): Promise<void> {
    await listen(this.#http, this.#options.host, this.#options.port);
    this.#http.on("error", onError);
  }

  /** Takes nobody new; resolves when the last one is gone. */
  close(): Promise<void> {
    return new Promise((resolve) => this.#http.close(() => resolve()));
  }

  closeAllConnections(): void {
    this.#http.closeAllConnections();
  }

  /** Forgets addresses that are gone. */
  sweep(): void {
    this.#door.sweep();
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on("error", () => socket.destroy());
    const status = this.#upgradeRefusal(request);
    if (status === null) {
      const household = this.#door.householdOf(request);
      const opened = (webSocket: WebSocket) => this.#options.onSession({ socket: webSocket, line: socket, household });
      this.#webSockets.handleUpgrade(request, socket, head, opened);
    } else socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
  }

  /** The status line's end; null: it may be a session. */
  #upgradeRefusal(request: IncomingMessage): string | null {
    if (!this.#door.admits(request)) return "429 Too Many Requests";
    if (this.#isForeignPage(request)) return "403 Forbidden";
    return request.url === "/session" ? null : "404 Not Found";
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const { refusals, onBlobRequest, onLineRequest, health } = this.#options;
    const { socket } = request;
    const path = request.url ?? "";
    if (socket.destroyed || this.#isPipelined(request, response)) return;
    if (this.#door.isRefused(request.socket))
      response.writeHead(429, { connection: "close", "retry-after": retryAfterSeconds }).end();
    else if (this.#isForeignPage(request)) response.writeHead(403, { connection: "close" }).end();
    else if (path.startsWith("/blobs/") || path.startsWith("/line/")) {
      response.once("finish", () => {
        const code = refusalOf[response.statusCode];
        if (code !== undefined) refusals.count(code);
      });
      const name = path.slice(path.indexOf("/", 1) + 1);
      if (path.startsWith("/blobs/"))
        onBlobRequest({ request, response, name, household: this.#door.householdOf(request) });
      else onLineRequest(request, response, this.#door.addressOf(request), name);
    } else if (path === "/health" && request.method === "GET")
      // Each time over a connection of its own, since their number is limited.
      response
        .writeHead(200, { "content-type": "application/json", connection: "close" })
        .end(JSON.stringify(health()));
    else response.writeHead(404, { connection: "close" }).end();
  }

  /** Who does not wait for answers makes work that nothing limits. */
  #isPipelined(request: IncomingMessage, response: ServerResponse): boolean {
    const { socket } = request;
    const unanswered = this.#unanswered.get(socket) ?? 0;
    if (unanswered === mostUnanswered) {
      this.#options.refusals.count("unexpected-message");
      this.#door.householdOf(request).made.fine(pipelinedConnections);
      socket.destroy();
      return true;
    }
    this.#unanswered.set(socket, unanswered + 1);
    response.once("close", () => this.#unanswered.set(socket, (this.#unanswered.get(socket) ?? 1) - 1));
    return false;
  }

  #isForeignPage(request: IncomingMessage): boolean {
    const isForeign = isForeignPage(request);
    if (isForeign) this.#options.refusals.count("origin-refused");
    return isForeign;
  }
}
