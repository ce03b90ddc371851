/**
 * The network's door: sessions and frames over WebSocket, blobs over HTTP, on one port. Messages that decide something become
 * events of the orchestrator; frames are passed on; progress is summed up and broadcast. Nothing that comes in is trusted.
 *
 * This folder may import `protocol`, `transport` and the orchestrator; it alone opens sockets.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { WebSocketServer } from "ws";
import { FailureError } from "../../protocol/failure.ts";
import { frameHeaderBytes, maxChunkBytes } from "../../protocol/frames.ts";
import type { BlobRef, MinerId } from "../../protocol/ids.ts";
import { closeCodes } from "../../protocol/local-api.ts";
import { protocolVersion } from "../../protocol/messages.ts";
import type { RunUpdate } from "../../protocol/run-view.ts";
import type { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import type { MinerMessage } from "../orchestrator/core/event.ts";
import { epochMembers } from "../orchestrator/core/replicas.ts";
import type { RunState } from "../orchestrator/core/state.ts";
import type { Orchestrator } from "../orchestrator/orchestrator.ts";
import { type Bearer, BlobRoutes } from "./blob-routes.ts";
import { Broadcaster } from "./broadcaster.ts";
import { isForeignPage } from "./foreign-page.ts";
import { Relay } from "./relay.ts";
import { defaultSessionLimits, type Hello, Session, type SessionLimits, type SessionMessage } from "./session.ts";
import { TelemetryDesk } from "./telemetry.ts";
import { UploadBudgets } from "./upload-budgets.ts";

export interface GatewayOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly networkId: string;
  readonly orchestrator: Orchestrator;
  readonly blobs: FileBlobStore;
  /** Keys that may steer the run. */
  readonly owners: ReadonlySet<MinerId>;
  readonly clock: () => number;
  readonly log: (text: string) => void;
  /** Everything that is broadcast, for whoever shares this process. */
  readonly onRunUpdate?: (update: RunUpdate) => void;
  readonly limits?: Partial<SessionLimits>;
}

const pingIntervalMs = 5000;
/** Well under the open files that an ordinary system allows a process. */
const maxConnections = 4096;
/** Twice the largest frame: what is merely too large gets a typed answer; beyond that the WebSocket closes (1009). */
const maxWebSocketMessageBytes = 2 * (maxChunkBytes + frameHeaderBytes);
/** Sessions get a moment to read why they are closed. */
const closeGraceMs = 500;

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #http: Server;
  readonly #webSockets = new WebSocketServer({
    noServer: true,
    perMessageDeflate: false,
    maxPayload: maxWebSocketMessageBytes,
  });
  /** All connections, and among them those that have proven who they are. */
  readonly #connections = new Set<Session>();
  readonly #sessions = new Map<MinerId, Session>();
  readonly #blobTokens = new Map<string, Bearer>();
  readonly #relay: Relay;
  readonly #telemetry = new TelemetryDesk();
  readonly #broadcaster: Broadcaster;
  readonly #blobRoutes: BlobRoutes;
  #pingTimer: NodeJS.Timeout | undefined;
  /** Those who may reach each other, as long as the replicas are these. */
  #members: { readonly of: RunState["replicas"]; readonly miners: ReadonlySet<MinerId> } = {
    of: [],
    miners: new Set(),
  };

  private constructor(options: GatewayOptions) {
    this.#options = options;
    this.#relay = new Relay(
      (minerId) => this.#sessions.get(minerId),
      (minerId) => this.#epochMembers().has(minerId),
    );
    this.#broadcaster = new Broadcaster({
      state: () => options.orchestrator.state,
      sessions: () => this.#sessions.values(),
      telemetry: this.#telemetry,
      relay: this.#relay,
      clock: options.clock,
      onRunUpdate: options.onRunUpdate,
    });
    this.#blobRoutes = new BlobRoutes({
      blobs: options.blobs,
      bearerOf: (token) => this.#blobTokens.get(token),
      budgets: new UploadBudgets(() => options.orchestrator.state),
      onBug: this.#logBug,
    });
    this.#http = createServer({ requestTimeout: 0 }, (request, response) => this.#serve(request, response));
    this.#http.maxConnections = maxConnections;
    this.#http.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) =>
      this.#upgrade(request, socket, head),
    );
    this.#http.on("clientError", (_error, socket) => socket.destroy());
  }

  /** Rejects with `FailureError`: port-in-use, invalid-option when the host cannot be listened on. */
  static async listen(options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(options);
    await gateway.#listen().catch((error: unknown) => {
      gateway.#broadcaster.close();
      throw error;
    });
    gateway.#start();
    return gateway;
  }

  get port(): number {
    return (this.#http.address() as AddressInfo).port;
  }

  /** Tells everyone, then closes. */
  async close(): Promise<void> {
    clearInterval(this.#pingTimer);
    this.#broadcaster.close();
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
    for (const session of this.#connections) session.close(closeCodes.serverStopping, "the network stops");
    const impatience = setTimeout(() => {
      for (const session of this.#connections) session.terminate();
      this.#http.closeAllConnections();
    }, closeGraceMs);
    await closed;
    clearTimeout(impatience);
  }

  #listen(): Promise<void> {
    const { host, port } = this.#options;
    return new Promise((resolve, reject) => {
      this.#http.once("error", (error: NodeJS.ErrnoException) => {
        if (error.code === "EADDRINUSE")
          reject(
            new FailureError("port-in-use", `Port ${port} of ${host} is in use by another program.`, {
              action: "Choose another one with --port, or end the other program.",
              cause: error,
            }),
          );
        else
          reject(
            new FailureError("invalid-option", `Cannot listen on ${host}:${port}: ${error.message}`, { cause: error }),
          );
      });
      this.#http.listen(port, host, () => {
        this.#http.removeAllListeners("error").on("error", this.#logBug);
        resolve();
      });
    });
  }

  #start(): void {
    this.#options.orchestrator.listen({
      send: (to, message) => this.#sessions.get(to)?.send(message),
      receipt: ({ receipt, signature }) =>
        this.#sessions.get(receipt.minerId)?.send({ type: "receipt", receipt, signature }),
      changed: () => this.#broadcaster.changed(),
      stoodStill: (reason) => this.#broadcaster.stoodStill(reason),
    });
    this.#pingTimer = setInterval(() => this.#checkAlive(), pingIntervalMs);
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on("error", () => socket.destroy());
    const status = isForeignPage(request) ? "403 Forbidden" : request.url === "/session" ? null : "404 Not Found";
    if (status !== null) {
      socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`);
      return;
    }
    const { networkId, clock, limits } = this.#options;
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const session = new Session(webSocket, {
        networkId,
        clock,
        limits: { ...defaultSessionLimits, ...limits },
        handlers: {
          opened: (opened) => this.#opened(opened),
          message: (from, message) => this.#message(from, message),
          frame: (from, bytes) => this.#frame(from, bytes),
          closed: (closed) => this.#closed(closed),
          bug: this.#logBug,
        },
      });
      this.#connections.add(session);
    });
  }

  #opened(session: Session): void {
    const { hello } = session;
    if (hello === null) return;
    const { minerId } = hello;
    const older = this.#sessions.get(minerId);
    if (older !== undefined) {
      this.#leave(older, minerId);
      const message = "A newer session with the same key replaces this one.";
      older.refuse({ code: "duplicate-session", message, action: "", retry: false }, closeCodes.replaced);
    }
    this.#sessions.set(minerId, session);
    this.#blobTokens.set(session.blobToken, hello);
    session.send({ type: "welcome", blobToken: session.blobToken });
    this.#broadcaster.welcome(session);
  }

  #closed(session: Session): void {
    this.#connections.delete(session);
    const { minerId } = session;
    if (minerId !== undefined && this.#sessions.get(minerId) === session) this.#leave(session, minerId);
  }

  #leave(session: Session, minerId: MinerId): void {
    this.#sessions.delete(minerId);
    this.#blobTokens.delete(session.blobToken);
    this.#telemetry.forget(minerId);
    this.#relay.forget(minerId);
    if (session.hello?.role === "miner") this.#options.orchestrator.submit({ type: "session-closed", minerId });
  }

  #message(session: Session, message: SessionMessage): void {
    const { hello } = session;
    if (hello === null || this.#sessions.get(hello.minerId) !== session) return; // replaced, and about to close
    if (message.type === "steer") this.#steer(hello, message);
    else if (hello.role === "observer") throw new FailureError("not-authorised", "Observers do not train.");
    else if (message.type === "progress") this.#telemetry.record(hello.minerId, message);
    else {
      for (const blob of blobsOf(message)) this.#mustHold(blob);
      this.#options.orchestrator.submit({ type: "message", from: hello.minerId, name: hello.name, message });
    }
  }

  #steer(hello: Hello, message: Extract<SessionMessage, { type: "steer" }>): void {
    const { orchestrator, owners } = this.#options;
    if (!owners.has(hello.minerId))
      throw new FailureError("not-authorised", "Only the network's owner steers its runs.", {
        action: "Serve the network with --owner and this miner's key.",
      });
    if (message.runId !== orchestrator.state.definition.runId)
      throw new FailureError("not-found", `There is no run ${message.runId}.`);
    orchestrator.submit({ type: "steered", action: message.action });
  }

  #mustHold({ hash, bytes }: BlobRef): void {
    if (this.#options.blobs.bytesOf(hash) !== bytes)
      throw new FailureError("blob-not-found", `The blob ${hash} of ${bytes} bytes has not been stored.`, {
        action: "Upload it first.",
        retry: true,
      });
  }

  #frame(session: Session, bytes: Uint8Array): void {
    const { hello } = session;
    if (hello === null || this.#sessions.get(hello.minerId) !== session) return;
    if (hello.role === "observer") throw new FailureError("not-authorised", "Observers send no frames.");
    this.#relay.forward(hello.minerId, session, bytes);
  }

  #epochMembers(): ReadonlySet<MinerId> {
    const { state } = this.#options.orchestrator;
    if (this.#members.of !== state.replicas) this.#members = { of: state.replicas, miners: epochMembers(state) };
    return this.#members.miners;
  }

  #checkAlive(): void {
    for (const session of this.#connections) session.checkAlive();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? "";
    if (isForeignPage(request)) response.writeHead(403, { connection: "close" }).end();
    else if (path.startsWith("/blobs/")) void this.#blobRoutes.handle(request, response, path.slice("/blobs/".length));
    else if (path === "/health" && request.method === "GET") {
      const { networkId, orchestrator } = this.#options;
      const { definition, phase } = orchestrator.state;
      const health = { networkId, protocol: protocolVersion, runId: definition.runId, phase: phase.name };
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(health));
    } else response.writeHead(404, { connection: "close" }).end();
  }

  #logBug = (error: unknown): void => {
    this.#options.log(`bug: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  };
}

function blobsOf(message: MinerMessage): readonly BlobRef[] {
  return message.type === "stored" ? [message.weights, message.optimizer] : [];
}
