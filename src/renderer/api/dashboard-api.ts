/**
 * How the dashboard reaches the daemon: over a WebSocket in a browser tab (`websocket-api.ts`), over the preload bridge in the
 * Electron window (`bridge-api.ts`). Both are a `LocalApi` that also tells whether it has the daemon.
 */
import type { LocalApi } from "../../protocol/local-api.ts";

export type ConnectionLoss = "unreachable" | "stopped" | "out-of-step" | "malformed";

export type Connection =
  | { readonly kind: "connecting" }
  | { readonly kind: "open" }
  /** Tries again by itself, at `retryAtMs`. */
  | { readonly kind: "lost"; readonly loss: ConnectionLoss; readonly retryAtMs: number }
  /** The daemon does not accept this page's token. A new token is needed. */
  | { readonly kind: "refused" };

export interface DashboardApi extends LocalApi {
  /** Tells the present connection at once and every change after it; returns the unsubscribe function. */
  onConnection(listener: (connection: Connection) => void): () => void;
  /** Tries at once instead of at `retryAtMs`. */
  reconnect(): void;
}
