/** `tah hotkey show|statement|prove|forget`: the Bittensor hotkey whose owner vouches for this machine. It is signed with elsewhere. */
import type { Command } from "commander";
import { readHotkeyClaim } from "../../protocol/hotkey-proof.ts";
import type { CommandResult } from "../../protocol/local-api.ts";
import type { MachineView } from "../../protocol/machine-view.ts";
import { type CommonOptions, withCommonOptions } from "../option-types.ts";
import type { Output } from "../output.ts";
import { withDaemon } from "../with-daemon.ts";

interface ProveOptions extends CommonOptions {
  readonly signature: string;
  readonly until: string;
}

export function addHotkeyCommands(program: Command, output: Output): void {
  const group = program.command("hotkey").description("The Bittensor hotkey whose owner vouches for this machine.");
  const tell = ({ hotkey }: Pick<MachineView, "hotkey">) => output.result({ hotkey }, () => hotkeyText(hotkey));

  withCommonOptions(group.command("show"))
    .description("The hotkey that is named, and until when.")
    .action(async ({ state }: CommonOptions) => {
      tell((await withDaemon(state, (api) => api.call("snapshot", {}))).state.machine);
    });

  withCommonOptions(group.command("statement"))
    .description("What to sign with the hotkey, in your own wallet.")
    .action(async ({ state }: CommonOptions) => {
      output.result(await withDaemon(state, (api) => api.call("hotkey-statement", {})), statementText);
    });

  // Several words are taken, and nothing is checked before the action: a secret that was pasted is recognised there, and never repeated.
  withCommonOptions(
    group.command("prove").argument("<address...>", "the hotkey's, public, SS58; never a key or a phrase"),
  )
    .description(
      "Name the hotkey, by its signature over the statement; remembered across restarts, and told the network.",
    )
    .requiredOption("--signature <hex>", "what the wallet printed")
    .requiredOption("--until <date>", "the last day that the statement names")
    .action(async (words: readonly string[], { state, signature, until }: ProveOptions) => {
      const claim = readHotkeyClaim({ address: words.join(" "), signature, until });
      tell(await withDaemon(state, (api) => api.call("prove-hotkey", claim)));
    });

  withCommonOptions(group.command("forget"))
    .description("Name none any longer.")
    .action(async ({ state }: CommonOptions) => {
      tell(await withDaemon(state, (api) => api.call("forget-hotkey", {})));
    });
}

function hotkeyText(hotkey: MachineView["hotkey"]): string {
  if (hotkey === null) return "No hotkey is named.";
  return `${hotkey.address} vouches for this machine on the network ${hotkey.networkId}, to the end of ${hotkey.until} (UTC).`;
}

function statementText({ statement, until }: CommandResult<"hotkey-statement">): string {
  return `Sign this text with the hotkey, in your own wallet. Its private key and its phrase stay there: nothing else needs them, this program neither.

${statement}

For example:
  btcli wallet sign --use-hotkey --message "${statement}"

Then give the address and the signature that it prints:
  tah hotkey prove ADDRESS --signature SIGNATURE --until ${until}`;
}
