/** `tah identity show|export|import|move`: the key that this machine is known and credited by. */
import { resolve } from "node:path";
import { Argument, type Command } from "commander";
import { type KeyPlace, keyPlaceSchema } from "../../miner/key-store/key-store.ts";
import { examineKey } from "../../miner/store/examine-key.ts";
import { loadIdentity, storedIdentity } from "../../miner/store/identity-file.ts";
import { exportIdentity, importIdentityFrom, moveIdentityTo } from "../../miner/store/identity-transfer.ts";
import { openStateFolder } from "../../miner/store/state-folder.ts";
import { type IdentityHomeOptions, identityHome } from "../identity-home.ts";
import { type CommonOptions, keyStoreOption, withCommonOptions } from "../option-types.ts";
import type { Output } from "../output.ts";
import { readPassphrase } from "../passphrase.ts";

interface SealedOptions extends CommonOptions {
  readonly passphraseFile?: string;
}

interface ImportOptions extends SealedOptions, IdentityHomeOptions {
  readonly force?: boolean;
}

const placeNames: Readonly<Record<KeyPlace, string>> = { os: "this computer's key store", file: "identity.pem" };

export function addIdentityCommands(program: Command, output: Output): void {
  const identity = program.command("identity").description("The key that this machine is known and credited by.");
  const homeOf = (options: IdentityHomeOptions) => identityHome(options, output);
  const passphraseOf = ({ passphraseFile: file }: SealedOptions, { twice }: { twice: boolean }) =>
    readPassphrase({ file, twice, say: (text) => output.note(text) });

  withCommonOptions(identity.command("show"))
    .description(
      "This machine's public key, by which networks, owners and receipts name it, and where its private key lies.",
    )
    .action(async (options: CommonOptions) => {
      const { stateFolder, stores } = homeOf(options);
      openStateFolder(stateFolder);
      // The public key can be shown also while the private one cannot be had.
      const { minerId } = storedIdentity(stateFolder) ?? (await loadIdentity(stateFolder, stores));
      const { ok, place, detail, action } = await examineKey(stateFolder, stores);
      const lines = [minerId, `Its private key: ${detail}.`, ...(ok ? [] : [action])];
      output.result({ minerId, stateFolder, key: { ok, place, detail } }, () => lines.join("\n"));
    });

  withPassphrase(identity.command("export").argument("<file>", "new file to write"))
    .description("Write the private key to a file that only a passphrase opens.")
    .action(async (file: string, options: SealedOptions) => {
      const minerId = await exportIdentity(homeOf(options), file, await passphraseOf(options, { twice: true }));
      output.result({ minerId, file: resolve(file) }, (result) => `${minerId} is in ${result.file}.`);
    });

  withPassphrase(identity.command("import").argument("<file>", "that tah identity export has written"))
    .description(
      "Become the miner that was exported; what it has earned comes along. Its daemon must not run elsewhere.",
    )
    .option("--force", "put the identity that is here aside, beside the new one")
    .addOption(keyStoreOption())
    .action(async (file: string, options: ImportOptions) => {
      const passphrase = await passphraseOf(options, { twice: false });
      const { force = false } = options;
      const imported = await importIdentityFrom(homeOf(options), file, { passphrase, force });
      output.result(imported, ({ minerId, backup }) =>
        backup === null ? `This machine is ${minerId}.` : `This machine is ${minerId}. The key before is in ${backup}.`,
      );
    });

  withCommonOptions(identity.command("move"))
    .addArgument(
      new Argument("<place>", "os: this computer's key store; file: identity.pem").choices(keyPlaceSchema.options),
    )
    .description("Keep the private key elsewhere on this computer. Its daemon must not run meanwhile.")
    .action(async (place: KeyPlace, options: CommonOptions) => {
      const { minerId, leftBehind } = await moveIdentityTo(homeOf(options), place);
      const rest = leftBehind === null ? "" : ` A copy is still where it was: ${leftBehind}.`;
      output.result({ minerId, place, leftBehind }, () => `The key of ${minerId} is in ${placeNames[place]}.${rest}`);
    });
}

function withPassphrase(command: Command): Command {
  return withCommonOptions(command).option(
    "--passphrase-file <file>",
    "its first line; otherwise TAH_PASSPHRASE, or asked for",
  );
}
