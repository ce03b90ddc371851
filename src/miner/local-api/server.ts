/**
 * The local API over HTTP and WebSocket, on the loopback interface only: the dashboard's files at `/`, the API at `/api`.
 * A request from a foreign page or under a foreign name gets 403 before anything else is looked at. A wrong token is told so
 * inside the WebSocket (close code 4401), because browsers hide an HTTP status from the page.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { type Failure, FailureError, failureOf } from "../../protocol/failure.ts";
import { closeCodes, maxRequestBytes } from "../../protocol/local-api.ts";
import { addressOf, checkHost, checkOrigin, checkToken } from "./access.ts";
import { refuse, serveClient } from "./connection.ts";
import type { Feed } from "./feed.ts";
import type { Handlers } from "./handlers.ts";
import { securityHeaders, serveFile } from "./static-files.ts";

const loopback = "127.0.0.1";
const maxClients = 64;
/** A message this long ends the connection at once (1009) without being read; between this and the limit it is told why. */
const maxPayloadBytes = 4 * maxRequestBytes;
const closeMs = 1000;
/** A standard close code (IANA registry of WebSocket close codes). */
const tryAgainLater = 1013;

export interface LocalApiServerOptions {
  readonly handlers: Handlers;
  readonly feed: Feed;
  readonly token: string;
  /** 0: any free one. */
  readonly port: number;
  /** The built dashboard; without it only `/api` is served. */
  readonly uiFolder?: string | undefined;
  /** A client that leaves so much unread is cut off; it connects again and gets a fresh snapshot. */
  readonly maxBufferedBytes?: number;
  readonly onBug: (what: string, error: unknown) => void;
}

export interface LocalApiServer {
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

/** Rejects with `FailureError` port-in-use. */
export async function startLocalApiServer(options: LocalApiServerOptions): Promise<LocalApiServer> {
  const { feed, handlers, token, onBug, maxBufferedBytes = 16 << 20 } = options;
  const http = createServer();
  const port = await listen(http, options.port);
  /** Those who know the token: others must not be able to take their places. */
  const admitted = new Set<WebSocket>();
  const webSockets = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: maxPayloadBytes });

  http.on("request", (request, response) => {
    void answerHttp(request, response, port, options);
  });
  http.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on("error", () => socket.destroy()); // the client is gone; ws takes over once upgraded
    try {
      checkHost(request, port);
      checkOrigin(request, port);
      if (addressOf(request).pathname !== "/api") throw new FailureError("not-found", "the API is at /api");
    } catch (error) {
      refuseUpgrade(socket, failureOf(error) ?? unforeseen("a connection", error, onBug));
      return;
    }
    webSockets.handleUpgrade(request, socket, head, (client) => accept(client, request));
  });

  function accept(client: WebSocket, request: IncomingMessage): void {
    client.on("error", () => {
      // A frame that breaks the WebSocket protocol, or is far too long: ws closes with the standard code by itself.
    });
    try {
      checkToken(request, token);
      if (admitted.size >= maxClients)
        throw new FailureError("too-many-connections", `${maxClients} programs are connected already`, { retry: true });
    } catch (error) {
      const failure = failureOf(error) ?? unforeseen("a connection", error, onBug);
      refuse(client, failure, failure.code === "not-authorised" ? closeCodes.notAuthorised : tryAgainLater);
      return;
    }
    admitted.add(client);
    client.on("close", () => admitted.delete(client));
    serveClient(client, { feed, handlers, maxBufferedBytes, onBug });
  }

  return {
    url: `http://${loopback}:${port}`,
    port,
    async close() {
      const closed = new Promise((resolve) => http.close(resolve));
      for (const client of webSockets.clients) client.close(closeCodes.serverStopping, "the daemon stops");
      http.closeIdleConnections();
      const cutOff = setTimeout(() => {
        for (const client of webSockets.clients) client.terminate();
        http.closeAllConnections();
      }, closeMs);
      await closed;
      clearTimeout(cutOff);
    },
  };
}

async function listen(http: Server, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    http.once("error", (error: NodeJS.ErrnoException) => {
      reject(error.code === "EADDRINUSE" || error.code === "EACCES" ? portInUse(port, error) : error);
    });
    http.listen(port, loopback, resolve);
  });
  return (http.address() as AddressInfo).port;
}

function portInUse(port: number, cause: NodeJS.ErrnoException): FailureError {
  const why = cause.code === "EACCES" ? "needs more rights" : "is taken by another program";
  return new FailureError("port-in-use", `port ${port} on ${loopback} ${why}`, {
    action: "Choose another with --api-port or TAH_API_PORT, or 0 for any free one.",
    cause,
  });
}

async function answerHttp(
  request: IncomingMessage,
  response: ServerResponse,
  port: number,
  { uiFolder, onBug }: LocalApiServerOptions,
): Promise<void> {
  for (const [name, value] of Object.entries(securityHeaders(port))) response.setHeader(name, value);
  request.resume(); // whatever is sent along is not read
  try {
    checkHost(request, port);
    checkOrigin(request, port);
    if (request.method !== "GET" && request.method !== "HEAD")
      throw new FailureError("unexpected-message", "only GET and HEAD are answered here; the API is a WebSocket");
    await serveFile(response, uiFolder, addressOf(request).pathname);
  } catch (error) {
    const failure = failureOf(error) ?? unforeseen("a request for a file", error, onBug);
    response.writeHead(statusOf(failure), { "content-type": "application/json" });
    response.end(JSON.stringify({ failure }));
  }
}

function unforeseen(what: string, error: unknown, onBug: LocalApiServerOptions["onBug"]): Failure {
  onBug(what, error);
  return new FailureError("internal-error", "the daemon failed in a way nobody foresaw").failure;
}

function refuseUpgrade(socket: Duplex, failure: Failure): void {
  const body = JSON.stringify({ failure });
  socket.end(
    `HTTP/1.1 ${statusOf(failure)} Refused\r\ncontent-type: application/json\r\nconnection: close\r\n` +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function statusOf({ code }: Failure): number {
  switch (code) {
    case "origin-refused":
      return 403;
    case "not-found":
      return 404;
    case "unexpected-message":
      return 405;
    case "internal-error":
      return 500;
    default:
      return 400;
  }
}
