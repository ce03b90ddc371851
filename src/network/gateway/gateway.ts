/**
 * The network's door: sessions and frames over WebSocket, blobs over HTTP, on one port. Messages that decide something become
 * events of the run that they are about; frames are passed on; progress is summed up and broadcast. Nothing that comes in is
 * trusted.
 *
 * This folder may import `protocol`, `transport`, the runs and the orchestrator; it alone opens sockets (`port.ts`).
 */
import { FailureError } from "../../protocol/failure.ts";
import type { MinerId, RunId } from "../../protocol/ids.ts";
import { closeCodes } from "../../protocol/local-api.ts";
import { protocolVersion } from "../../protocol/messages.ts";
import type { NetworkHealth } from "../../protocol/network-health.ts";
import { defaultAddressLimits } from "./address-limits.ts";
import { type Bearer, BlobRoutes } from "./blob-routes.ts";
import { Broadcaster } from "./broadcaster.ts";
import type { GatewayOptions } from "./gateway-options.ts";
import { LineRoutes } from "./line-routes.ts";
import { MessageDesk } from "./message-desk.ts";
import { Port } from "./port.ts";
import type { SessionConnection } from "./reading.ts";
import { Refusals } from "./refusals.ts";
import { Relay } from "./relay.ts";
import { Session } from "./session.ts";
import type { Hello, SessionMessage } from "./session-handlers.ts";
import { defaultSessionLimits, type SessionLimits } from "./session-limits.ts";
import { slowReaders } from "./slow-readers.ts";
import { TelemetryDesk } from "./telemetry.ts";
import { slept, Wakefulness } from "./wakefulness.ts";

const pingIntervalMs = 5000;
const refusalReportMs = 60_000;
/** Sessions get a moment to read why they are closed. */
const closeGraceMs = 500;

export class Gateway {
  readonly #options: GatewayOptions;
  readonly #port: Port;
  readonly #refusals = new Refusals();
  /** All connections, and among them those that have proven who they are. */
  readonly #connections = new Set<Session>();
  /** One of each role for each key: an owner may look and steer while its miner trains. */
  readonly #sessions = { miner: new Map<MinerId, Session>(), observer: new Map<MinerId, Session>() };
  readonly #blobTokens = new Map<string, Bearer>();
  readonly #relay: Relay;
  readonly #telemetry = new TelemetryDesk();
  readonly #broadcaster: Broadcaster;
  readonly #blobRoutes: BlobRoutes;
  readonly #lineRoutes: LineRoutes;
  readonly #messageDesk: MessageDesk;
  readonly #sessionLimits: SessionLimits;
  readonly #wakefulness: Wakefulness;
  #timers: readonly NodeJS.Timeout[] = [];

  private constructor(options: GatewayOptions) {
    this.#options = options;
    const { runs, clock } = options;
    this.#sessionLimits = { ...defaultSessionLimits, ...options.limits };
    this.#wakefulness = new Wakefulness(pingIntervalMs + this.#sessionLimits.silenceMs, clock);
    // First: it fails where the certificate cannot be used.
    this.#port = new Port({
      ...options,
      limits: { ...defaultAddressLimits, ...options.limits },
      refusals: this.#refusals,
      onSession: (connection) => this.#connected(connection),
      onBlobRequest: (request) => void this.#blobRoutes.handle(request),
      onLineRequest: (request, response, address, name) =>
        void this.#lineRoutes.handle(request, response, address, name),
      health: () => this.#health(),
    });
    this.#relay = new Relay({
      sessionOf: (minerId) => this.#sessions.miner.get(minerId),
      runOf: (minerId) => this.#runOf(minerId),
      refused: () => this.#refusals.count("not-authorised"),
      onFrame: options.onFrame,
      clock,
    });
    this.#broadcaster = new Broadcaster({
      runs,
      sessions: () => [...this.#sessions.miner.values(), ...this.#sessions.observer.values()],
      telemetry: this.#telemetry,
      relay: this.#relay,
      clock,
      onRunUpdate: options.onRunUpdate,
    });
    this.#blobRoutes = new BlobRoutes({
      blobs: options.blobs,
      bearerOf: (token) => this.#blobTokens.get(token),
      isMember: (minerId) => this.#runOf(minerId) !== null,
      budgetsOf: (minerId) => runs.workforce.runOf(minerId)?.uploads,
      onStalled: () => this.#refusals.count("timed-out"),
      onBug: this.#logBug,
    });
    this.#lineRoutes = new LineRoutes({ isToken: (token) => this.#blobTokens.has(token), clock });
    this.#messageDesk = new MessageDesk({
      ...options,
      networkId: options.identity.minerId,
      telemetry: this.#telemetry,
      onBug: this.#logBug,
    });
  }

  /**
   * Rejects with `FailureError`: port-in-use, invalid-option when the host cannot be listened on or the certificate not used,
   * file-unreadable.
   */
  static async listen(options: GatewayOptions): Promise<Gateway> {
    const gateway = new Gateway(options);
    try {
      await gateway.#port.listen(gateway.#logBug);
    } catch (error) {
      gateway.#broadcaster.close();
      throw error;
    }
    gateway.#start();
    return gateway;
  }

  get port(): number {
    return this.#port.number;
  }

  /** Tells everyone, then closes. */
  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#broadcaster.close();
    const closed = this.#port.close();
    for (const session of this.#connections) session.close(closeCodes.serverStopping, "the network stops");
    const impatience = setTimeout(() => {
      for (const session of this.#connections) session.terminate();
      this.#port.closeAllConnections();
    }, closeGraceMs);
    await closed;
    clearTimeout(impatience);
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
    this.#options.admission.onBansChanged = () => this.#expelBanned();
    this.#timers = [
      setInterval(() => this.#checkAlive(), pingIntervalMs),
      setInterval(() => this.#refusals.report(this.#options.log), refusalReportMs),
    ];
  }

  /** The run in whose current epoch the miner has a place. */
  #runOf(minerId: MinerId): RunId | null {
    const run = this.#options.runs.workforce.runOf(minerId);
    return run?.isInEpoch(minerId) ? run.runId : null;
  }

  #connected(connection: SessionConnection): void {
    const { admission, identity, clock } = this.#options;
    const session = new Session(connection, {
      identity,
      clock,
      limits: this.#sessionLimits,
      handlers: {
        isAwake: () => this.#isAwake(),
        isMember: ({ hello }) => hello?.role === "miner" && this.#runOf(hello.minerId) !== null,
        needOf: (applicant) => admission.needOf(applicant),
        check: (applicant, need, proof) => admission.check(applicant, need, proof),
        opened: (opened) => this.#opened(opened),
        message: (from, message) => this.#message(from, message),
        frame: (from, bytes) => this.#frame(from, bytes),
        closed: (closed) => this.#closed(closed),
        refused: (code) => this.#refusals.count(code),
        bug: this.#logBug,
      },
    });
    this.#connections.add(session);
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
    this.#messageDesk.take(session, hello, message);
  }

  #frame(session: Session, bytes: Uint8Array): void {
    const { hello } = session;
    if (hello === null || !this.#isCurrent(session, hello)) return;
    if (hello.role === "observer") throw new FailureError("not-authorised", "Observers send no frames.");
    this.#relay.forward(hello.minerId, session, bytes);
  }

  /** Otherwise all sessions end, and say why: their clients come again at once. */
  #isAwake(): boolean {
    if (this.#wakefulness.look()) return true;
    for (const session of this.#connections) session.dismiss(slept, closeCodes.serverStopping);
    return false;
  }

  #checkAlive(): void {
    // Else they have all been told, and are given a moment to read it.
    if (!this.#isAwake()) return;
    for (const session of this.#connections) session.checkAlive();
    this.#relay.giveUpSlowest();
    for (const session of slowReaders(this.#connections)) session.giveUp();
    this.#port.sweep();
    this.#lineRoutes.sweep();
    this.#options.admission.sweep();
  }

  /** Out of the run at once, whenever they agree that the connection is closed. */
  #expelBanned(): void {
    for (const session of this.#connections) {
      const { hello } = session;
      const failure = hello === null ? null : this.#options.admission.banOf(hello.minerId);
      if (hello === null || failure === null) continue;
      if (this.#isCurrent(session, hello)) this.#leave(session, hello);
      session.refuse(failure, closeCodes.notAuthorised);
    }
  }

  /** For whoever asks: nothing that is secret. */
  #health(): NetworkHealth {
    const { identity, runs } = this.#options;
    return {
      networkId: identity.minerId,
      protocol: protocolVersion,
      runs: runs.all.map(({ runId, state }) => ({ runId, phase: state.phase.name })),
      connections: this.#connections.size,
      refusals: this.#refusals.counts,
    };
  }

  #logBug = (error: unknown): void => {
    this.#options.log(`bug: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  };
}
