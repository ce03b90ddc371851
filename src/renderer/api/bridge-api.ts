/**
 * The local API through Electron's preload bridge. The main process keeps the connection to the daemon and sends a new snapshot
 * after each reconnect; that the daemon is gone shows here by a cheap call that fails.
 */
import { z } from "zod";
import { FailureError, failureSchema } from "../../protocol/failure.ts";
import type { ApiEvent, CommandName, CommandParameters, CommandResult, LocalApi } from "../../protocol/local-api.ts";
import type { LogLine } from "../../protocol/machine-view.ts";
import type { Connection, DashboardApi } from "./dashboard-api.ts";

declare global {
  interface Window {
    /** Exposed by the Electron preload; absent in a browser. */
    readonly trainAtHome?: LocalApi;
  }
}

const heartbeatMs = 3_000;
const heartbeatLevel: LogLine["level"] = "error";

export class BridgeApi implements DashboardApi {
  readonly #bridge: LocalApi;
  readonly #connectionListeners = new Set<(connection: Connection) => void>();
  #connection: Connection = { kind: "connecting" };
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(bridge: LocalApi) {
    this.#bridge = bridge;
    this.#waitForHeartbeat();
  }

  call<C extends CommandName>(command: C, parameters: CommandParameters<C>): Promise<CommandResult<C>> {
    return this.#bridge.call(command, parameters).catch((error: unknown) => {
      throw failureErrorOf(error);
    });
  }

  subscribe(listener: (event: ApiEvent) => void): () => void {
    return this.#bridge.subscribe((event) => {
      listener(event);
      if (event.event === "snapshot") this.#tell({ kind: "open" });
    });
  }

  onConnection(listener: (connection: Connection) => void): () => void {
    this.#connectionListeners.add(listener);
    listener(this.#connection);
    return () => this.#connectionListeners.delete(listener);
  }

  reconnect(): void {
    clearTimeout(this.#timer);
    this.#heartbeat();
  }

  #waitForHeartbeat(): void {
    this.#timer = setTimeout(() => this.#heartbeat(), heartbeatMs);
  }

  #heartbeat(): void {
    this.#bridge.call("logs", { lines: 1, level: heartbeatLevel }).then(
      () => {
        if (this.#connection.kind === "lost") this.#tell({ kind: "open" });
        this.#waitForHeartbeat();
      },
      () => {
        this.#tell({ kind: "lost", loss: "unreachable", retryAtMs: Date.now() + heartbeatMs });
        this.#waitForHeartbeat();
      },
    );
  }

  #tell(connection: Connection): void {
    this.#connection = connection;
    for (const listener of this.#connectionListeners) listener(connection);
  }
}

const carrierSchema = z.object({ failure: failureSchema });

/** A failure crosses the bridge as a plain object, because an `Error` would lose everything but its message. */
function failureErrorOf(error: unknown): unknown {
  const carrier = carrierSchema.safeParse(error);
  if (!carrier.success) return error;
  const { code, message, action, retry } = carrier.data.failure;
  return new FailureError(code, message, { action, retry });
}
