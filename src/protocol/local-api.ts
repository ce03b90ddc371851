/**
 * What a daemon offers to the programs of the person at this computer: the window, the browser tab, the CLI and fleet tools
 * are equal clients. This one table of commands and events is what the WebSocket server, its clients, the Electron bridge and
 * the CLI are derived from.
 *
 * Transport: WebSocket on a loopback port, `/api?token=…`, JSON text messages. The client sends `ApiRequest`s; the server answers
 * each with one `ApiReply` and pushes `ApiEvent`s: first a `snapshot`, then `delta`s with rising versions; `app-view.ts` folds
 * them. Programs may send the token as `Authorization: Bearer` instead. A browser gets it in the dashboard's address
 * (`dashboardUrl`); the page moves it out of the address bar at once and is served with `Referrer-Policy: no-referrer`.
 */
import { z } from "zod";
import { failureSchema } from "./failure.ts";
import { minerIdSchema, runIdSchema } from "./ids.ts";
import {
  appListsSchema,
  appStateSchema,
  connectionRulesSchema,
  logLineSchema,
  machineViewSchema,
  processViewSchema,
} from "./machine-view.ts";
import { newRunSchema, runWeightSchema } from "./owner-commands.ts";
import { runDetailsSchema } from "./run-view.ts";

const count = z.int().nonnegative();

export const apiEventSchema = z.discriminatedUnion("event", [
  z.object({ event: z.literal("snapshot"), version: count, state: appStateSchema, lists: appListsSchema }),
  /**
   * `version` is the last one plus one; a client that sees a gap reconnects. With `reset` the run is sent anew: its lists
   * (all but `log`, which is the daemon's) are emptied before appending.
   */
  z.object({
    event: z.literal("delta"),
    version: count,
    set: appStateSchema.partial(),
    append: appListsSchema.partial(),
    reset: z.boolean().optional(),
  }),
]);
export type ApiEvent = Readonly<z.infer<typeof apiEventSchema>>;

/** What the stage that this machine holds takes, or one of the demo's while it holds none. */
export const memoryReportSchema = z.object({
  /** Counted from 0. */
  stage: count,
  stages: count,
  weightsBytes: count,
  gradientsBytes: count,
  optimizerBytes: count,
  /** What was rounded away of contributions to merges, and goes along with the next. */
  errorFeedbackBytes: count,
  /** What steps moved, on its way between replicas and while it is averaged. */
  exchangeBytes: count,
  scratchBytes: count,
  activationsPerMicrobatchBytes: count,
  microbatchesInFlight: count,
  /** Whether activations are computed again instead of kept, for want of memory. */
  recompute: z.boolean(),
  /** The daemon and its compute worker, without the stage. */
  programsBytes: count,
  /** All of it. */
  neededBytes: count,
  limitBytes: count,
});

const nothing = z.strictObject({});
const ofRun = z.strictObject({ runId: runIdSchema });

/** name → parameters, result, and what `tah help` and the docs say about it. */
export const commands = {
  snapshot: {
    parameters: nothing,
    result: z.object({ state: appStateSchema, lists: appListsSchema }),
    summary: "Everything the dashboard shows.",
  },
  start: {
    parameters: nothing,
    result: machineViewSchema,
    summary: "Ask this machine to train; remembered across restarts.",
  },
  pause: {
    parameters: nothing,
    result: machineViewSchema,
    summary: "Ask this machine to pause; remembered across restarts.",
  },
  limit: {
    parameters: connectionRulesSchema.partial().strict(),
    result: machineViewSchema,
    summary: "Change what this machine may send and receive; remembered across restarts.",
  },
  payout: {
    parameters: z.strictObject({ address: z.string().max(1000).nullable() }),
    result: machineViewSchema,
    summary: "Name the public address that this machine's earnings are paid to; remembered across restarts.",
  },
  "hotkey-statement": {
    parameters: nothing,
    result: z.object({ statement: z.string(), minerId: minerIdSchema, networkId: z.string(), until: z.string() }),
    summary: "What the owner of a Bittensor hotkey signs, to vouch for this machine on its network.",
  },
  "prove-hotkey": {
    parameters: z.strictObject({
      address: z.string().max(1000),
      until: z.string().max(1000),
      signature: z.string().max(1000),
    }),
    result: machineViewSchema,
    summary: "Name the hotkey, with its signature over the statement; remembered across restarts.",
  },
  "forget-hotkey": { parameters: nothing, result: machineViewSchema, summary: "Name no hotkey any longer." },
  "run-details": {
    parameters: ofRun,
    result: runDetailsSchema,
    summary: "One run with its epochs, evaluations and log.",
  },
  "create-run": {
    parameters: newRunSchema,
    result: ofRun,
    summary: "Add a run to a network that this computer owns; its miners are shared by the runs' weights.",
  },
  "pause-run": {
    parameters: ofRun,
    result: nothing,
    summary: "Pause a run for everyone; only on a network that this computer owns. Its miners work for others.",
  },
  "resume-run": { parameters: ofRun, result: nothing, summary: "Resume a paused run." },
  "stop-run": {
    parameters: ofRun,
    result: nothing,
    summary: "End a run for good: what is trained is merged, and its checkpoints stay until it is deleted.",
  },
  "reweight-run": {
    parameters: ofRun.extend({ weight: runWeightSchema }),
    result: nothing,
    summary: "Give a run another weight: the network's capacity is shared in proportion to the weights.",
  },
  "delete-run": {
    parameters: ofRun,
    result: nothing,
    summary: "Delete a paused or ended run with its checkpoints; what it credited stays.",
  },
  logs: {
    parameters: z.strictObject({
      lines: z.int().positive().max(10_000).default(200),
      level: logLineSchema.shape.level.default("info"),
    }),
    result: z.array(logLineSchema),
    summary: "The daemon's last log lines.",
  },
  doctor: {
    parameters: nothing,
    result: z.object({
      ok: z.boolean(),
      /** Address of the network that was looked at, without what is secret in it; null: there is none. */
      network: z.string().nullable(),
      checks: z.array(z.object({ name: z.string(), ok: z.boolean(), detail: z.string(), action: z.string() })),
      memory: memoryReportSchema,
    }),
    summary: "Check this machine: Node, addon, self-test of the device, memory, disk, network.",
  },
  processes: { parameters: nothing, result: z.array(processViewSchema), summary: "The processes that work here." },
  stop: { parameters: nothing, result: nothing, summary: "Hand work over and end the daemon." },
} as const satisfies Record<string, { parameters: z.ZodType; result: z.ZodType; summary: string }>;

export type CommandName = keyof typeof commands;
export type CommandParameters<C extends CommandName> = z.input<(typeof commands)[C]["parameters"]>;
export type CommandResult<C extends CommandName> = z.output<(typeof commands)[C]["result"]>;

export const maxRequestBytes = 64 << 10;

export const apiRequestSchema = z.strictObject({
  id: count,
  command: z.string().max(64),
  parameters: z.unknown().default({}),
});
export type ApiRequest = z.input<typeof apiRequestSchema>;

export const apiReplySchema = z.union([
  z.object({ reply: count, ok: z.literal(true), result: z.unknown() }),
  z.object({ reply: count.nullable(), ok: z.literal(false), failure: failureSchema }),
]);
export type ApiReply = z.infer<typeof apiReplySchema>;

/** What every client, over whichever transport, offers: the WebSocket client, the Electron bridge, the in-process one. */
export interface LocalApi {
  /** Rejects with `FailureError` when the daemon refuses or is gone. */
  call<C extends CommandName>(command: C, parameters: CommandParameters<C>): Promise<CommandResult<C>>;
  /** Delivers a snapshot first and then every delta; returns the unsubscribe function. */
  subscribe(listener: (event: ApiEvent) => void): () => void;
}

/** Where a running daemon is reached: the content of `daemon.json` (mode 0600) in its state folder. */
export const daemonAddressSchema = z.object({
  /** http://127.0.0.1:PORT: serves the dashboard at `/` and the WebSocket at `/api`. */
  url: z.url(),
  token: z.string().min(32),
  pid: count,
  version: z.string(),
});
export type DaemonAddress = Readonly<z.infer<typeof daemonAddressSchema>>;

/** What to open in a browser. The page's files need no token; the page itself takes it from here to `/api?token=…`. */
export function dashboardUrl(address: DaemonAddress): string {
  return `${address.url}/?token=${address.token}`;
}

/** WebSocket close codes of the local API and the gateway, beyond the standard ones. */
export const closeCodes = {
  notAuthorised: 4401,
  malformed: 4400,
  tooLarge: 4413,
  tooMany: 4429,
  replaced: 4409,
  serverStopping: 4503,
} as const;
