/** What happens to a run, and what the run wants done: the two ends of `apply`. */

import type { ClientMessage } from "../../../protocol/client-messages.ts";
import type { GatewayMessage } from "../../../protocol/gateway-messages.ts";
import type { MinerId } from "../../../protocol/ids.ts";
import type { SteerAction } from "../../../protocol/owner-commands.ts";
import type { Receipt } from "../../../protocol/receipt.ts";
import type { Checkpoint, Evaluation, RunLogEntry } from "../../../protocol/run-view.ts";

/** The accepted client messages that decide anything. Those of the door, `payout`, `hotkey`, `progress` and `owner-command` end at the gateway. */
export type MinerMessage = Exclude<
  ClientMessage,
  { type: "hello" | "admission-proof" | "payout" | "hotkey" | "progress" | "owner-command" }
>;

/** `atMs` is the orchestrator's time in milliseconds since 1970; it never runs backwards while a process lives. */
export type RunEvent = { readonly atMs: number } & (
  | { readonly type: "message"; readonly from: MinerId; readonly name: string; readonly message: MinerMessage }
  | { readonly type: "session-closed"; readonly minerId: MinerId }
  /** The time of `nextDeadlineMs` has come. */
  | { readonly type: "deadline" }
  | { readonly type: "steered"; readonly action: SteerAction }
  /** The owner wants another amount of training; null: for ever. */
  | { readonly type: "retargeted"; readonly targetTokens: number | null }
  | { readonly type: "evaluated"; readonly evaluation: Evaluation }
  /** Something outside the core that people should know about the run. */
  | { readonly type: "noted"; readonly level: RunLogEntry["level"]; readonly text: string }
  /** The orchestrator's process started on an existing log: every session is gone. */
  | { readonly type: "restarted" }
  /** The blobs of the last checkpoint are lost or damaged, those of the one before are not. */
  | { readonly type: "checkpoint-damaged" }
);

/** What the core says to miners. Rosters are signed when they are sent. */
export type OrchestratorMessage = Unsigned<Extract<GatewayMessage, { type: OrchestratorMessageType }>>;
type OrchestratorMessageType =
  | "idle"
  | "prepare"
  | "start"
  | "roster"
  | "upload"
  | "reduce"
  | "apply"
  | "take-snapshot"
  | "store-checkpoint"
  | "abandon-checkpoint";
type Unsigned<M> = M extends { readonly signature: Uint8Array } ? Omit<M, "signature"> : M;

export type Effect =
  | { readonly type: "send"; readonly to: MinerId; readonly message: OrchestratorMessage }
  /** Enter the credit in the ledger, sign its receipt and send it. */
  | { readonly type: "credit"; readonly receipt: Omit<Receipt, "networkId"> }
  /** A new checkpoint stands: evaluate it, and delete the blobs that nothing refers to any more. */
  | { readonly type: "checkpoint-recorded"; readonly checkpoint: Checkpoint };

export interface Transition<S> {
  readonly state: S;
  readonly effects: readonly Effect[];
}
