/** The key stores of this computer. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { FileKeyStore } from "./file-key-store.ts";
import type { KeyStoreChoice, KeyStores } from "./key-store.ts";
import { OsKeyStore } from "./os-key-store.ts";
import { OsSecretsProcess } from "./os-secrets.ts";

export function openKeyStores(choice: KeyStoreChoice): KeyStores {
  return {
    choice,
    os: new OsKeyStore(new OsSecretsProcess()),
    file: new FileKeyStore(),
    obstacle: obstacleToUnattendedUse(),
  };
}

export interface SessionFacts {
  readonly platform: NodeJS.Platform;
  readonly environment: NodeJS.ProcessEnv;
  /** Where systemd notes whose services run while nobody is logged in. */
  readonly lingerFolder: string;
}

/**
 * Why a daemon that is started anew, perhaps by a restart of the computer, may find its key store locked or absent; null: nothing
 * speaks against it. On macOS and Windows it opens with the user's session, and what runs outside of one fails when it tries.
 */
export function obstacleToUnattendedUse({ platform, environment, lingerFolder }: SessionFacts = here): string | null {
  if (platform === "darwin" || platform === "win32") return null;
  const { DISPLAY, WAYLAND_DISPLAY, SSH_CONNECTION, USER } = environment;
  if (SSH_CONNECTION) return "a keyring is unlocked by a login at the desktop, not by one over SSH";
  if (!DISPLAY && !WAYLAND_DISPLAY) return "no desktop is in use here, so nobody would unlock a keyring";
  if (USER && existsSync(join(lingerFolder, USER)))
    return "this user's services run while nobody is logged in (loginctl enable-linger), when a keyring is locked";
  return null;
}

const here: SessionFacts = {
  platform: process.platform,
  environment: process.env,
  lingerFolder: "/var/lib/systemd/linger",
};
