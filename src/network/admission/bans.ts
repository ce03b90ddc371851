/**
 * Keys that a network does not let in: `bans.json` in its state folder. `tah network ban` and `unban` write it, whether the network runs
 * or not; a running network reads it again when it has changed.
 */
import { unwatchFile, watchFile } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { readFileIfPresent, writeFileAtomically } from "../../disk/atomic-file.ts";
import { FailureError } from "../../protocol/failure.ts";
import { type MinerId, minerIdSchema, shortId } from "../../protocol/ids.ts";

export const banSchema = z.strictObject({
  minerId: minerIdSchema,
  /** For the miner, in words. */
  reason: z.string().min(1).max(200),
  atMs: z.number(),
});
export type Ban = Readonly<z.infer<typeof banSchema>>;

const watchIntervalMs = 1000;

/** Throws `FailureError` (state-corrupt, file-unreadable). */
export function readBans(stateFolder: string): readonly Ban[] {
  const path = pathIn(stateFolder);
  const text = readFileIfPresent(path);
  if (text === null) return [];
  try {
    return z.array(banSchema).parse(JSON.parse(text));
  } catch (cause) {
    throw new FailureError("state-corrupt", `${path} is not a list of bans.`, {
      action: "Restore it from a backup, or move it away to ban nobody.",
      cause,
    });
  }
}

/** A key that is banned already gets the new reason. Throws as `readBans`, and disk-full. */
export function ban(stateFolder: string, added: Ban): void {
  write(stateFolder, [...readBans(stateFolder).filter(({ minerId }) => minerId !== added.minerId), added]);
}

/** Throws as `ban`, and not-found when the key is not banned. */
export function unban(stateFolder: string, minerId: MinerId): void {
  const bans = readBans(stateFolder);
  if (!bans.some((one) => one.minerId === minerId))
    throw new FailureError("not-found", `The key ${shortId(minerId)} is not banned here.`, {
      action: "tah network bans lists those that are.",
    });
  write(
    stateFolder,
    bans.filter((one) => one.minerId !== minerId),
  );
}

export interface BanListOptions {
  readonly stateFolder: string;
  /** Who is banned may have changed. */
  readonly onChange: () => void;
  readonly log: (text: string) => void;
}

/** The bans as they are now, for a running network. */
export class BanList {
  readonly #options: BanListOptions;
  #reasons: ReadonlyMap<MinerId, string>;

  /** Throws as `readBans`. */
  constructor(options: BanListOptions) {
    this.#options = options;
    this.#reasons = reasonsIn(options.stateFolder);
    watchFile(pathIn(options.stateFolder), { interval: watchIntervalMs, persistent: false }, this.#read);
  }

  /** Undefined: the key is not banned. */
  reasonOf(minerId: MinerId): string | undefined {
    return this.#reasons.get(minerId);
  }

  close(): void {
    unwatchFile(pathIn(this.#options.stateFolder), this.#read);
  }

  /** A list that cannot be read does not let anybody in who was banned before. */
  #read = (): void => {
    const { stateFolder, onChange, log } = this.#options;
    try {
      this.#reasons = reasonsIn(stateFolder);
    } catch (error) {
      log(`the bans stay as they were: ${error instanceof Error ? error.message : String(error)}`);
      return;
    }
    onChange();
  };
}

function reasonsIn(stateFolder: string): ReadonlyMap<MinerId, string> {
  return new Map(readBans(stateFolder).map(({ minerId, reason }) => [minerId, reason]));
}

function write(stateFolder: string, bans: readonly Ban[]): void {
  writeFileAtomically(pathIn(stateFolder), `${JSON.stringify(bans, null, 2)}\n`);
}

function pathIn(stateFolder: string): string {
  return join(stateFolder, "bans.json");
}
