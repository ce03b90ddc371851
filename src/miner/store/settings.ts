/**
 * How the daemon is set up: `config.json` in the state folder, then the environment, then command-line flags; the later wins.
 * One schema checks all three and names the offending key.
 */
import { availableParallelism, hostname, totalmem } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { readFileIfPresent, writeFileAtomically } from "../../disk/atomic-file.ts";
import { type FailureCode, FailureError } from "../../protocol/failure.ts";
import { connectionRulesSchema } from "../../protocol/machine-view.ts";
import { payoutAddressSchema } from "../../protocol/payout-address.ts";
import { parseJson } from "../json.ts";
import { keyStoreChoiceSchema } from "../key-store/key-store.ts";

/** The environment and flags come as text. */
const integer = (schema: z.ZodInt) =>
  z.preprocess((value) => (typeof value === "string" && /^\d+$/.test(value) ? Number(value) : value), schema);

/** "none" lifts what an earlier source says. */
const megabits = (schema: ConnectionRulesShape["maxUploadMbps"]) =>
  z.preprocess((value) => {
    if (value === "none") return null;
    return typeof value === "string" && /^\d+(\.\d+)?$/.test(value) ? Number(value) : value;
  }, schema);

type ConnectionRulesShape = typeof connectionRulesSchema.shape;
const { maxUploadMbps, maxDownloadMbps, onMetered } = connectionRulesSchema.shape;

const settingsSchema = z.strictObject({
  /** Address of the network's gateway. */
  networkUrl: z.url({ protocol: /^wss?$/, error: "must be an address such as ws://192.168.1.10:7700" }),
  /** What people call this machine. */
  name: z.string().min(1).max(64),
  threads: integer(z.int().min(1).max(1024)),
  memoryLimitBytes: integer(z.int().min(256 << 20)),
  /** Stages that this machine trains at once, if its memory holds them. */
  maximumStages: integer(z.int().min(1).max(64)),
  /** Of the local API; 0: any free one. */
  apiPort: integer(z.int().min(0).max(65_535)),
  maxUploadMbps: megabits(maxUploadMbps),
  maxDownloadMbps: megabits(maxDownloadMbps),
  onMetered,
  payoutAddress: payoutAddressSchema.nullable(),
  /** Whether other miners are reached directly where the network lets them; off: all goes over its gateway. */
  direct: z.enum(["on", "off"]),
  /** Where a new key is kept. */
  keyStore: keyStoreChoiceSchema,
});

export type DaemonSettings = Readonly<z.output<typeof settingsSchema>>;
/** Where no network needs to be named. */
export type MachineSettings = Omit<DaemonSettings, "networkUrl"> & Partial<Pick<DaemonSettings, "networkUrl">>;
type SettingName = keyof DaemonSettings;
const settingNames = Object.keys(settingsSchema.shape) as readonly SettingName[];

export interface SettingSources {
  /** The text of config.json; null when there is none. */
  readonly file: string | null;
  readonly environment: NodeJS.ProcessEnv;
  /** Unset flags are undefined. */
  readonly flags: Readonly<Partial<Record<SettingName, unknown>>>;
}

/** Reads config.json. Throws as `resolveSettings`, and file-unreadable. */
export function loadSettings(
  folder: string,
  flags: SettingSources["flags"],
  onLost: (text: string) => void,
  environment: NodeJS.ProcessEnv = process.env,
): DaemonSettings {
  return resolveSettings({ file: readFileIfPresent(join(folder, "config.json")), environment, flags }, onLost);
}

/** As `loadSettings`, for programs that need no network. */
export function loadMachineSettings(
  folder: string,
  flags: SettingSources["flags"],
  onLost: (text: string) => void,
  environment: NodeJS.ProcessEnv = process.env,
): MachineSettings {
  return mergeSources({ file: readFileIfPresent(join(folder, "config.json")), environment, flags }, onLost);
}

/** Writes what was changed while the daemon runs into config.json, beside what else is there. Throws invalid-config, disk-full, file-unreadable. */
export function storeSettings(folder: string, changes: Partial<DaemonSettings>): void {
  const file = join(folder, "config.json");
  const content = z.record(z.string(), z.unknown()).safeParse(parseJson(readFileIfPresent(file) ?? "{}"));
  if (!content.success)
    throw new FailureError("invalid-config", `${file} is not JSON, so nothing can be added to it`, {
      action: "Mend it, or move it away.",
    });
  writeFileAtomically(file, `${JSON.stringify({ ...content.data, ...changes }, null, 2)}\n`);
}

/**
 * Throws `FailureError` invalid-config or invalid-option, naming the source and the key. A file that is not JSON at all (torn by
 * a crash, say) is passed over, and `onLost` hears of it.
 */
export function resolveSettings(sources: SettingSources, onLost: (text: string) => void): DaemonSettings {
  const settings = mergeSources(sources, onLost);
  if (settings.networkUrl === undefined)
    throw new FailureError("invalid-config", "no network is named", {
      action: "Give its address with --network ws://HOST:PORT or TAH_NETWORK_URL.",
    });
  return { ...settings, networkUrl: settings.networkUrl };
}

function mergeSources(sources: SettingSources, onLost: (text: string) => void): MachineSettings {
  return {
    ...defaultSettings(),
    ...parseSource("config.json: ", (key) => key, fileContent(sources.file, onLost), "invalid-config"),
    ...parseSource("", environmentName, fromEnvironment(sources.environment), "invalid-config"),
    ...parseSource("", flagName, withoutUnset(sources.flags), "invalid-option"),
  };
}

/** Polite: one core and a quarter of the memory are left to the person, and what is sent costs nothing. */
function defaultSettings(): MachineSettings {
  return {
    name: hostname().slice(0, 64) || "this machine",
    threads: Math.max(1, availableParallelism() - 1),
    memoryLimitBytes: Math.floor(totalmem() * 0.75),
    maximumStages: 64,
    apiPort: 0,
    maxUploadMbps: null,
    maxDownloadMbps: null,
    onMetered: "pause",
    payoutAddress: null,
    direct: "on",
    keyStore: "auto",
  };
}

function parseSource(
  prefix: string,
  nameOf: (key: string) => string,
  values: unknown,
  code: FailureCode,
): Partial<DaemonSettings> {
  const parsed = settingsSchema.partial().safeParse(values);
  if (parsed.success) return withoutUnset(parsed.data);
  const [issue] = parsed.error.issues;
  if (issue?.code === "unrecognized_keys")
    throw new FailureError(code, `${prefix}there is no setting ${issue.keys.map(nameOf).join(", ")}`, {
      action: `The settings are ${settingNames.map(nameOf).join(", ")}.`,
    });
  const key = issue?.path[0];
  const what = key === undefined ? "" : `${nameOf(String(key))}: `;
  throw new FailureError(code, `${prefix}${what}${issue?.message ?? "not understood"}`);
}

function fileContent(text: string | null, onLost: (text: string) => void): unknown {
  if (text === null) return {};
  try {
    return JSON.parse(text);
  } catch (error) {
    onLost(`config.json is passed over, it is not JSON: ${error instanceof Error ? error.message : error}`);
    return {};
  }
}

function fromEnvironment(environment: NodeJS.ProcessEnv): Record<string, string> {
  const values: Record<string, string> = {};
  for (const key of settingNames) {
    const value = environment[environmentName(key)];
    if (value !== undefined && value !== "") values[key] = value;
  }
  return values;
}

/** networkUrl → TAH_NETWORK_URL */
function environmentName(key: string): string {
  return `TAH_${key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;
}

/** apiPort → --api-port. The network, which is named most often, has the shorter --network. */
function flagName(key: string): string {
  return key === "networkUrl" ? "--network" : `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function withoutUnset<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}
