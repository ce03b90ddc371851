/** `tah payout show|set|clear`: the public address that this machine's earnings are paid to. */
import type { Command } from "commander";
import { readPayoutAddress } from "../../protocol/payout-address.ts";
import { type CommonOptions, withCommonOptions } from "../option-types.ts";
import type { Output } from "../output.ts";
import { withDaemon } from "../with-daemon.ts";

export function addPayoutCommands(program: Command, output: Output): void {
  const payout = program.command("payout").description("Where this machine's earnings are paid to.");
  const tell = (payoutAddress: string | null) =>
    output.result({ payoutAddress }, () => payoutAddress ?? "No address is named; what is earned waits for one.");
  const change = async (address: string | null, { state }: CommonOptions) =>
    tell((await withDaemon(state, (api) => api.call("payout", { address }))).payoutAddress);

  withCommonOptions(payout.command("show"))
    .description("The address that is named.")
    .action(async ({ state }: CommonOptions) => {
      tell((await withDaemon(state, (api) => api.call("snapshot", {}))).state.machine.payoutAddress);
    });

  // Several words are taken, too, so that a phrase that was pasted is recognised here, and gets no further.
  withCommonOptions(
    payout.command("set").argument("<address...>", "public, SS58 of Bittensor; never a key or a phrase"),
  )
    .description("Name the address; remembered across restarts, and told the network.")
    .action((words: readonly string[], options: CommonOptions) => change(readPayoutAddress(words.join(" ")), options));

  withCommonOptions(payout.command("clear"))
    .description("Name none any longer; what is earned waits.")
    .action((options: CommonOptions) => change(null, options));
}
