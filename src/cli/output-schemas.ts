/** What each command prints with `--json`. The JSON Schemas in docs/cli.md are made from these, and tests check that they still agree. */
import { z } from "zod";
import { keyPlaceSchema } from "../miner/key-store/key-store.ts";
import { banSchema } from "../network/admission/bans.ts";
import { minerHotkeySchema } from "../network/hotkeys.ts";
import { deviceProbeSchema } from "../protocol/device-probe.ts";
import { failureSchema } from "../protocol/failure.ts";
import { minerIdSchema, runIdSchema } from "../protocol/ids.ts";
import { lineViewSchema } from "../protocol/line-view.ts";
import { commands } from "../protocol/local-api.ts";
import { appStateSchema, logLineSchema, machineViewSchema, processViewSchema } from "../protocol/machine-view.ts";
import { networkHealthSchema } from "../protocol/network-health.ts";
import { planSchema } from "../protocol/plan-view.ts";
import { checkpointSchema, runDetailsSchema, runSummarySchema } from "../protocol/run-view.ts";
import { lineOutlookSchema } from "./line-outlook.ts";
import { placementReportSchema } from "./placement-report.ts";

const count = z.int().nonnegative();

export const demoResultSchema = z.object({
  runId: z.string(),
  preset: z.string(),
  mode: z.enum(["sync", "local-steps"]),
  seed: count,
  stages: count,
  replicas: count,
  /** Trained in all, an earlier part of a resumed run included. */
  tokens: count,
  /** From the first training phase that this command saw to the last merge. */
  seconds: z.number(),
  /** Tokens trained in `seconds`, divided by them. */
  tokensPerSecond: z.number(),
  /** Of the last epoch; null before the first has ended. */
  trainLossNats: z.number().nullable(),
  firstValidationLossNats: z.number().nullable(),
  validationLossNats: z.number().nullable(),
  validationTokens: count,
  epochs: count,
  microbatchesLost: count,
  /** Micro-credits, of all miners together. */
  credits: count,
  checkpoint: checkpointSchema.nullable(),
  /** Distinct processes of the operating system, as of the end. */
  processes: z.array(processViewSchema.omit({ alive: true })),
  /** How often a process had to be started again. */
  restarts: count,
  stateFolder: z.string(),
});
export type DemoResult = Readonly<z.infer<typeof demoResultSchema>>;

/** `src/network/audit/audit.ts` says what the fields mean. */
export const auditReportSchema = z.object({
  ok: z.boolean(),
  runs: z
    .array(z.object({ runId: runIdSchema, events: count, epoch: count.nullable(), tokens: count.nullable() }))
    .readonly(),
  transfers: count,
  receipts: count,
  blobs: count,
  blobBytes: count,
  findings: z
    .array(z.object({ part: z.enum(["log", "ledger", "receipts", "blobs"]), what: z.string(), action: z.string() }))
    .readonly(),
});

/** An invitation as `tah network invite` prints it. */
const invitationSchema = z.object({
  id: z.string(),
  /** Machines that it lets in. */
  uses: count,
  expiresAtSeconds: count,
  token: z.string(),
  /** As the invited type it behind `--network`; null: the network's address was not given. */
  address: z.string().nullable(),
});
export type InvitationResult = Readonly<z.infer<typeof invitationSchema>>;

export const doctorResultSchema = commands.doctor.result.extend({
  /** Null: no network is named. */
  line: lineViewSchema.nullable(),
  /** What that means for each model; empty where too little was measured. */
  outlook: z.array(lineOutlookSchema).readonly(),
  /** Whether this machine trained meanwhile: then the rates are what that left. */
  besideTraining: z.boolean(),
});
export type DoctorResult = Readonly<z.infer<typeof doctorResultSchema>>;

/** Null: no address is named. */
const payoutSchema = z.object({ payoutAddress: z.string().nullable() });

/** Null: none is named. */
const hotkeySchema = machineViewSchema.pick({ hotkey: true });

const ofRun = z.object({ runId: z.string() });

export const checkpointViewSchema = z.object({
  /** Of its manifest: the checkpoint's name. */
  hash: z.string(),
  runId: z.string(),
  epoch: count,
  tokens: count,
  recordedAtMs: z.number(),
  trainLossNats: z.number().nullable(),
  validationLossNats: z.number().nullable(),
  /** On disk. */
  bytes: count,
  /** Older ones are kept without their optimizer state. */
  hasOptimizer: z.boolean(),
});
export type CheckpointView = Readonly<z.infer<typeof checkpointViewSchema>>;

const checkpointListSchema = z.object({
  /** Of the network that keeps them. */
  stateFolder: z.string(),
  /** Oldest first. */
  checkpoints: z.array(checkpointViewSchema),
});
export type CheckpointList = Readonly<z.infer<typeof checkpointListSchema>>;

const exportedModelSchema = z.object({
  checkpoint: checkpointViewSchema,
  folder: z.string(),
  files: z.array(z.string()).readonly(),
  weightsBytes: count,
});
export type ExportedModel = Readonly<z.infer<typeof exportedModelSchema>>;

const writtenTextSchema = z.object({
  prompt: z.string(),
  /** Behind the prompt. */
  text: z.string(),
  seed: count,
  temperature: z.number(),
});
export type WrittenText = Readonly<z.infer<typeof writtenTextSchema>>;

/** `plan`: what it is expected to cost on homes' links; null where it goes on with a model, which only the network can look at. */
const createdRunSchema = z.object({ runId: runIdSchema, plan: planSchema.nullable() });

const keyReportSchema = z.object({
  /** Whether the daemon can have it. */
  ok: z.boolean(),
  /** Null: there is none yet, or its file cannot be read. */
  place: keyPlaceSchema.nullable(),
  /** Where it lies, and why there; or why it cannot be had. */
  detail: z.string(),
});

export const outputSchemas = {
  demo: demoResultSchema,
  /** `remembered`: from an earlier probe, since when nothing has changed. */
  bench: deviceProbeSchema.extend({ remembered: z.boolean() }),
  /** When the daemon has ended. */
  mine: z.object({ stopped: z.string() }),
  "network serve": z.object({ stopped: z.string() }),
  "network status": networkHealthSchema,
  "network audit": auditReportSchema,
  "network invite": invitationSchema,
  "network ban": banSchema,
  "network unban": z.object({ minerId: minerIdSchema }),
  "network bans": z.object({ bans: z.array(banSchema).readonly() }),
  /** Those that hold now. */
  "network hotkeys": z.object({ hotkeys: z.array(minerHotkeySchema).readonly() }),
  "identity show": z.object({ minerId: minerIdSchema, stateFolder: z.string(), key: keyReportSchema }),
  "identity export": z.object({ minerId: minerIdSchema, file: z.string() }),
  /** `backup`: where the key that was there before lies now; null: there was none, or the same one. */
  "identity import": z.object({ minerId: minerIdSchema, backup: z.string().nullable() }),
  /** `leftBehind`: why a copy of the key is still where it was; null: none is. */
  "identity move": z.object({ minerId: minerIdSchema, place: keyPlaceSchema, leftBehind: z.string().nullable() }),
  "payout show": payoutSchema,
  "payout set": payoutSchema,
  "payout clear": payoutSchema,
  "hotkey show": hotkeySchema,
  "hotkey statement": commands["hotkey-statement"].result,
  "hotkey prove": hotkeySchema,
  "hotkey forget": hotkeySchema,
  "run list": z.object({ runs: z.array(runSummarySchema) }),
  "run show": runDetailsSchema,
  "run placement": placementReportSchema,
  "run plan": planSchema,
  "run create": createdRunSchema,
  "run import": createdRunSchema,
  "run pause": ofRun,
  "run resume": ofRun,
  "run stop": ofRun,
  "run weight": ofRun,
  "run delete": ofRun,
  "run checkpoints": checkpointListSchema,
  "run export": exportedModelSchema,
  "run sample": writtenTextSchema,
  status: appStateSchema,
  start: machineViewSchema,
  pause: machineViewSchema,
  limit: machineViewSchema,
  stop: commands.stop.result,
  processes: z.object({ processes: z.array(processViewSchema) }),
  logs: z.object({ lines: z.array(logLineSchema) }),
  doctor: doctorResultSchema,
  open: z.object({ url: z.url() }),
  version: z.object({ version: z.string(), node: z.string(), nodeApi: z.string(), platform: z.string() }),
  /** Instead of a result, when a command failed in an expected way. */
  failure: z.object({ failure: failureSchema }),
} as const;
