/**
 * The network's door: sessions and frames over WebSocket, blobs over HTTP, on one port. Messages that decide something become
 * events of the run that they are about; frames are passed on; progress is summed up and broadcast. Nothing that comes in is
 * trusted.
 *
 * This folder may import `protocol`, `transport`, the runs and the orchestrator; it alone opens sockets.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { WebSocketServer } from "ws";
import { FailureError } from "../../protocol/failure.ts";
import { frameHeaderBytes, maxChunkBytes } from "../../protocol/frames.ts";
import type { BlobRef, MinerId } from "../../protocol/ids.ts";
import { closeCodes } from "../../protocol/local-api.ts";
import { protocolVersion, type UdpAddress } from "../../protocol/messages.ts";
import type { RunUpdate } from "../../protocol/run-view.ts";
import type { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import type { MinerMessage } from "../orchestrator/core/event.ts";
import { OwnerDesk } from "../runs/owner-desk.ts";
import type { Runs } from "../runs/runs.ts";
import { type Bearer, BlobRoutes } from "./blob-routes.ts";
import { Broadcaster } from "./broadcaster.ts";
import { isForeignPage } from "./foreign-page.ts";
import { type FrameListener, Relay } from "./relay.ts";
import { defaultSessionLimits, type Hello, Session, type SessionLimits, type SessionMessage } from "./session.ts";
import { TelemetryDesk } from "./telemetry.ts";

export interface GatewayOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  readonly networkId: string;
  readonly runs: Runs;
  readonly blobs: FileBlobStore;
  /** Keys that may create, steer and delete runs. */
  readonly owners: ReadonlySet<MinerId>;
  /** Where miners begin with direct connections; none: they have none. */
  readonly bootstrap?: readonly UdpAddress[];
  readonly clock: () => number;
  readonly log: (text: string) => void;
  /** Everything that is broadcast, for whoever shares this process. */
  readonly onRunUpdate?: (update: RunUpdate) => void;
  /** Likewise, every frame that is passed on. */
  readonly onFrame?: FrameListener | undefined;
  readonly limits?: Partial<SessionLimits>;
}

type Command = Extract<SessionMessage, { type: "owner-command" }>;

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
  /** One of each role for each key: an owner may look and steer while its miner trains. */
  readonly #sessions = { miner: new Map<MinerId, Session>(), observer: new Map<MinerId, Session>() };
  readonly #blobTokens = new Map<string, Bearer>();
  readonly #relay: Relay;
  readonly #telemetry = new TelemetryDesk();
  readonly #broadcaster: Broadcaster;
  readonly #blobRoutes: BlobRoutes;
  readonly #ownerDesk: OwnerDesk;
  #pingTimer: NodeJS.Timeout | undefined;

  private constructor(options: GatewayOptions) {
    this.#options = options;
    const { runs } = options;
    this.#relay = new Relay(
      (minerId) => this.#sessions.miner.get(minerId),
      (minerId) => {
        const run = runs.workforce.runOf(minerId);
        return run?.isInEpoch(minerId) ? run.runId : null;
      },
      options.onFrame,
    );
    this.#broadcaster = new Broadcaster({
      runs,
      sessions: () => [...this.#sessions.miner.values(), ...this.#sessions.observer.values()],
      telemetry: this.#telemetry,
      relay: this.#relay,
      clock: options.clock,
      onRunUpdate: options.onRunUpdate,
    });
    this.#blobRoutes = new BlobRoutes({
      blobs: options.blobs,
      bearerOf: (token) => this.#blobTokens.get(token),
      budgetsOf: (minerId) => runs.workforce.runOf(minerId)?.uploads,
      onBug: this.#logBug,
    });
    this.#ownerDesk = new OwnerDesk({ runs, owners: options.owners, onBug: this.#logBug });
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
    const miners = this.#sessions.miner;
    this.#options.runs.listen({
      send: (to, message) => miners.get(to)?.send(message),
      receipt: ({ receipt, signature }) => miners.get(receipt.minerId)?.send({ type: "receipt", receipt, signature }),
      assigned: (minerId, run) => {
        miners.get(minerId)?.send({ type: "assigned", runId: run?.runId ?? null });
        if (run === null) miners.get(minerId)?.send({ type: "idle", reason: "No run of this network needs miners." });
        this.#broadcaster.changed();
      },
      changed: () => this.#broadcaster.changed(),
      stoodStill: (run, reason) => this.#broadcaster.stoodStill(run, reason),
      listed: () => this.#broadcaster.changed(),
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
    const sessions = this.#sessions[hello.role];
    const older = sessions.get(hello.minerId);
    if (older !== undefined) {
      this.#leave(older, hello);
      const message = "A newer session with the same key replaces this one.";
      older.refuse({ code: "duplicate-session", message, action: "", retry: false }, closeCodes.replaced);
    }
    sessions.set(hello.minerId, session);
    this.#blobTokens.set(session.blobToken, hello);
    session.send({ type: "welcome", blobToken: session.blobToken, bootstrap: this.#options.bootstrap ?? [] });
    this.#broadcaster.welcome(session);
  }

  #closed(session: Session): void {
    this.#connections.delete(session);
    const { hello } = session;
    if (hello !== null && this.#isCurrent(session, hello)) this.#leave(session, hello);
  }

  #leave(session: Session, { minerId, role }: Hello): void {
    this.#sessions[role].delete(minerId);
    this.#blobTokens.delete(session.blobToken);
    if (role === "observer") return;
    this.#telemetry.forget(minerId);
    this.#relay.forget(minerId);
    this.#options.runs.workforce.lose(minerId);
  }

  /** Otherwise it has been replaced, and is about to close. */
  #isCurrent(session: Session, { role, minerId }: Hello): boolean {
    return this.#sessions[role].get(minerId) === session;
  }

  #message(session: Session, message: SessionMessage): void {
    const { hello } = session;
    if (hello === null || !this.#isCurrent(session, hello)) return;
    if (message.type === "owner-command") void this.#obey(session, hello, message);
    else if (hello.role === "observer") throw new FailureError("not-authorised", "Observers do not train.");
    else if (message.type === "progress") this.#telemetry.record(hello.minerId, message);
    else this.#pass(hello, message);
  }

  /** To the run that the message is about. One about a run that is not there is late, and ignored like all that are. */
  #pass({ minerId, name }: Hello, message: MinerMessage): void {
    const { runs } = this.#options;
    if (message.type === "join") runs.workforce.join(minerId, name, message);
    else if (message.type === "leave") runs.workforce.leave(minerId, message);
    else if (message.type === "link") runs.workforce.measured(minerId, message);
    else {
      for (const blob of blobsOf(message)) this.#mustHold(blob);
      runs.find(message.at.runId)?.orchestrator.submit({ type: "message", from: minerId, name, message });
    }
  }

  async #obey(session: Session, { minerId }: Hello, { id, command }: Command): Promise<void> {
    session.send({ type: "owner-answer", id, answer: await this.#ownerDesk.answer(minerId, command) });
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
    if (hello === null || !this.#isCurrent(session, hello)) return;
    if (hello.role === "observer") throw new FailureError("not-authorised", "Observers send no frames.");
    this.#relay.forward(hello.minerId, session, bytes);
  }

  #checkAlive(): void {
    for (const session of this.#connections) session.checkAlive();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? "";
    if (isForeignPage(request)) response.writeHead(403, { connection: "close" }).end();
    else if (path.startsWith("/blobs/")) void this.#blobRoutes.handle(request, response, path.slice("/blobs/".length));
    else if (path === "/health" && request.method === "GET") {
      const { networkId, runs } = this.#options;
      const phases = runs.all.map(({ runId, state }) => ({ runId, phase: state.phase.name }));
      const health = { networkId, protocol: protocolVersion, runs: phases };
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
