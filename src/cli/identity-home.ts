import type { KeyStoreChoice } from "../miner/key-store/key-store.ts";
import { openKeyStores } from "../miner/key-store/open-key-stores.ts";
import type { IdentityHome } from "../miner/store/identity-transfer.ts";
import { loadMachineSettings } from "../miner/store/settings.ts";
import { stateFolderPath } from "../miner/store/state-folder.ts";
import type { CommonOptions } from "./option-types.ts";
import type { Output } from "./output.ts";

export interface IdentityHomeOptions extends CommonOptions {
  readonly keyStore?: KeyStoreChoice;
}

/** Where this machine's identity is, and where a new key would go, by flags, environment and config.json. */
export function identityHome({ state, keyStore }: IdentityHomeOptions, output: Output): IdentityHome {
  const stateFolder = state ?? stateFolderPath();
  const settings = loadMachineSettings(stateFolder, { keyStore }, (text) => output.note(text));
  return { stateFolder, stores: openKeyStores(settings.keyStore) };
}
