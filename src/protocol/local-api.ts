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
import { deviceReportSchema } from "./device-report.ts";
import { failureSchema } from "./failure.ts";
import { minerIdSchema, runIdSchema } from "./ids.ts";
import { linkReportSchema } from "./link-report.ts";
import { newRunSchema, runWeightSchema } from "./owner-commands.ts";
import {
  epochRecordSchema,
  evaluationSchema,
  runDetailsSchema,
  runLogEntrySchema,
  runSummarySchema,
  runViewSchema,
  telemetrySchema,
} from "./run-view.ts";

const count = z.int().nonnegative();

/** Counted from 0, ascending; at least one. */
const stagesSchema = z.array(count).readonly();

/** What this machine is doing, derived from intent, sensors and network; always with its reason in words. */
export const minerStateSchema = z.discriminatedUnion("kind", [
  /** Looking for the network, or waiting for a place or for other miners. */
  z.object({ kind: z.literal("connecting"), reason: z.string() }),
  z.object({ kind: z.literal("waiting"), reason: z.string() }),
  z.object({ kind: z.literal("preparing"), reason: z.string(), stages: stagesSchema }),
  z.object({ kind: z.literal("training"), reason: z.string(), stages: stagesSchema }),
  z.object({ kind: z.literal("merging"), reason: z.string(), stages: stagesSchema }),
  z.object({ kind: z.literal("paused"), reason: z.string() }),
  /** Needs attention: it will not go on by itself. */
  z.object({ kind: z.literal("stopped"), reason: z.string() }),
]);
export type MinerState = Readonly<z.infer<typeof minerStateSchema>>;

/** Megabits per second; null: no limit. A tenth is enough to stay in touch. */
const megabitsSchema = z.number().min(0.1, "is at least 0.1").max(100_000, "is at most 100000").nullable();

/** What this machine's owner allows of its connection. */
export const connectionRulesSchema = z.object({
  /** Of all that is sent, and received, for the network. */
  maxUploadMbps: megabitsSchema,
  maxDownloadMbps: megabitsSchema,
  /** What to do on a connection that is paid for by what passes through it. */
  onMetered: z.enum(["pause", "allow"]),
});
export type ConnectionRules = Readonly<z.infer<typeof connectionRulesSchema>>;

export const machineViewSchema = z.object({
  minerId: minerIdSchema,
  name: z.string(),
  version: z.string(),
  pid: count,
  startedAtMs: z.number(),
  device: deviceReportSchema,
  /** What the person asked for; survives restarts. */
  intent: z.enum(["run", "pause"]),
  state: minerStateSchema,
  network: z.object({ url: z.string(), connected: z.boolean(), reason: z.string() }),
  /** Process ids of the compute workers. */
  workers: z.array(count).readonly(),
  connection: connectionRulesSchema,
  /** Whether the operating system says that the connection is metered; null: it does not say. */
  metered: z.boolean().nullable(),
  /** Public address that what was earned is paid to; null: not named, and nothing is lost meanwhile. */
  payoutAddress: z.string().nullable(),
  /** Bittensor hotkey whose owner vouches for this machine on this network, to the end of that day in UTC; null: none. */
  hotkey: z.object({ address: z.string(), networkId: z.string(), until: z.string() }).nullable(),
});
export type MachineView = Readonly<z.infer<typeof machineViewSchema>>;

export const activityViewSchema = z.object({
  tokensPerSecond: z.number(),
  /** Of all backward-passed tokens per second of the run's replicas, 0 … 1; null while the run stands still. */
  share: z.number().nullable(),
  /** Since the daemon started. */
  tokensForward: count,
  tokensBackward: count,
  /** On the wire, with what TCP and IP add. */
  bytesSent: count,
  bytesReceived: count,
  microbatchesInFlight: count,
  /** Resident, daemon and workers. */
  memoryBytes: count,
  trainingSeconds: z.number(),
});
export type ActivityView = Readonly<z.infer<typeof activityViewSchema>>;

const transferredSchema = z.object({ sentBytes: count, receivedBytes: count });

export const peerViewSchema = z.object({
  minerId: minerIdSchema,
  /** Straight from machine to machine, or through the network's gateway. */
  way: z.enum(["direct", "relayed"]),
  sinceMs: z.number(),
  /** Of direct messages; null: not measured. */
  roundTripMs: z.number().nonnegative().nullable(),
  /** Messages that were dropped because they were not what the peer signed, since the daemon started, by the way that they came. */
  damaged: z.object({ direct: count, relayed: count }),
});
export type PeerView = Readonly<z.infer<typeof peerViewSchema>>;

/** What passed through this machine's connection to the network, as bytes on the wire. */
export const trafficViewSchema = z.object({
  /** Since this machine has its state folder. */
  total: transferredSchema,
  /** Of that, while it worked for each run. */
  runs: z.array(transferredSchema.extend({ runId: runIdSchema })).readonly(),
  /** Over the last few seconds. */
  sentBytesPerSecond: z.number().nonnegative(),
  receivedBytesPerSecond: z.number().nonnegative(),
  /** What the connection was measured to carry, within what it may. */
  link: linkReportSchema,
  /** Miners that this one speaks with, in this session, and how their messages travel. */
  peers: z.array(peerViewSchema).readonly(),
});
export type TrafficView = Readonly<z.infer<typeof trafficViewSchema>>;

/** Micro-credits. Never mixed: estimated is a forecast, pending awaits checks, payable may be paid out, paid is gone. */
export const creditsViewSchema = z.object({ estimated: count, pending: count, payable: count, paid: count });
export type CreditsView = Readonly<z.infer<typeof creditsViewSchema>>;

/** The processes of a local network, where this daemon belongs to one. */
export const processViewSchema = z.object({
  role: z.enum(["orchestrator", "this-machine", "local-peer", "compute-worker", "evaluator"]),
  name: z.string(),
  pid: count,
  alive: z.boolean(),
});
export type ProcessView = Readonly<z.infer<typeof processViewSchema>>;

export const logLineSchema = z.object({
  sequence: count,
  atMs: z.number(),
  level: z.enum(["debug", "info", "warning", "error"]),
  source: z.string(),
  text: z.string(),
});
export type LogLine = Readonly<z.infer<typeof logLineSchema>>;

/** Everything a dashboard shows. Replaced key by key in deltas, except for the lists, which grow. */
export const appStateSchema = z.object({
  machine: machineViewSchema,
  activity: activityViewSchema,
  credits: creditsViewSchema,
  traffic: trafficViewSchema,
  /** All runs of the network. */
  runs: z.array(runSummarySchema).readonly(),
  /** The one that this machine works for or, while it works for none, looks at. */
  run: runViewSchema.nullable(),
  telemetry: telemetrySchema.nullable(),
});
export const appListsSchema = z.object({
  epochs: z.array(epochRecordSchema).readonly(),
  evaluations: z.array(evaluationSchema).readonly(),
  runLog: z.array(runLogEntrySchema).readonly(),
  log: z.array(logLineSchema).readonly(),
});
export type AppState = Readonly<z.infer<typeof appStateSchema>>;
export type AppLists = Readonly<z.infer<typeof appListsSchema>>;

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
