/** What a dashboard shows: this machine, what it is doing, and the run that it works for. */
import { z } from "zod";
import { deviceReportSchema } from "./device-report.ts";
import { messageKinds } from "./frames.ts";
import { minerIdSchema, runIdSchema } from "./ids.ts";
import { linkReportSchema } from "./link-report.ts";
import {
  epochRecordSchema,
  evaluationSchema,
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
  /** Since the daemon started: frames sent to other miners, by what they carry, without packets and acknowledgements. */
  sentFrames: z.record(z.enum(messageKinds), z.number().nonnegative()),
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
