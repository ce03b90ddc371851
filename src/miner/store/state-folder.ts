/** What the daemon keeps on disk, all of it in one folder that only its user may enter: identity, intent, configuration, receipts. */
import { mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileFailure } from "../../disk/atomic-file.ts";

export interface StatePlace {
  readonly platform: NodeJS.Platform;
  readonly environment: NodeJS.ProcessEnv;
  readonly home: string;
}

const here: StatePlace = { platform: process.platform, environment: process.env, home: homedir() };

/** Where this user's daemon keeps its state: `TAH_STATE`, or the place that the operating system has for such things. */
export function stateFolderPath({ platform, environment, home }: StatePlace = here): string {
  if (environment.TAH_STATE) return environment.TAH_STATE;
  switch (platform) {
    case "darwin":
      return join(home, "Library", "Application Support", "Train at Home");
    case "win32":
      return join(environment.LOCALAPPDATA || join(home, "AppData", "Local"), "Train at Home");
    default:
      return join(environment.XDG_STATE_HOME || join(home, ".local", "state"), "train-at-home");
  }
}

/** Creates the folder when it is missing. Throws `FailureError` file-unreadable. */
export function openStateFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw fileFailure(`the state folder ${folder} cannot be made`, cause);
  }
}
