/** `tah identity show|export|import`: the key that this machine is known and credited by. */
import { resolve } from "node:path";
import type { Command } from "commander";
import { loadIdentity } from "../../miner/store/identity-file.ts";
import { exportIdentity, importIdentityFrom } from "../../miner/store/identity-transfer.ts";
import { openStateFolder, stateFolderPath } from "../../miner/store/state-folder.ts";
import { type CommonOptions, withCommonOptions } from "../option-types.ts";
import type { Output } from "../output.ts";
import { readPassphrase } from "../passphrase.ts";

interface SealedOptions extends CommonOptions {
  readonly passphraseFile?: string;
}

interface ImportOptions extends SealedOptions {
  readonly force?: boolean;
}

export function addIdentityCommands(program: Command, output: Output): void {
  const identity = program.command("identity").description("The key that this machine is known and credited by.");
  const folderOf = ({ state }: CommonOptions) => state ?? stateFolderPath();
  const passphraseOf = ({ passphraseFile: file }: SealedOptions, { twice }: { twice: boolean }) =>
    readPassphrase({ file, twice, say: (text) => output.note(text) });

  withCommonOptions(identity.command("show"))
    .description("This machine's public key, by which networks, owners and receipts name it.")
    .action((options: CommonOptions) => {
      const stateFolder = folderOf(options);
      openStateFolder(stateFolder);
      const { minerId } = loadIdentity(stateFolder);
      output.result({ minerId, stateFolder }, () => minerId);
    });

  withPassphrase(identity.command("export").argument("<file>", "new file to write"))
    .description("Write the private key to a file that only a passphrase opens.")
    .action(async (file: string, options: SealedOptions) => {
      const minerId = exportIdentity(folderOf(options), file, await passphraseOf(options, { twice: true }));
      output.result({ minerId, file: resolve(file) }, (result) => `${minerId} is in ${result.file}.`);
    });

  withPassphrase(identity.command("import").argument("<file>", "that tah identity export has written"))
    .description(
      "Become the miner that was exported; what it has earned comes along. Its daemon must not run elsewhere.",
    )
    .option("--force", "put the identity that is here aside, beside the new one")
    .action(async (file: string, options: ImportOptions) => {
      const passphrase = await passphraseOf(options, { twice: false });
      const { force = false } = options;
      const imported = importIdentityFrom(file, { stateFolder: folderOf(options), passphrase, force });
      output.result(imported, ({ minerId, backup }) =>
        backup === null ? `This machine is ${minerId}.` : `This machine is ${minerId}. The key before is in ${backup}.`,
      );
    });
}

function withPassphrase(command: Command): Command {
  return withCommonOptions(command).option(
    "--passphrase-file <file>",
    "its first line; otherwise TAH_PASSPHRASE, or asked for",
  );
}
