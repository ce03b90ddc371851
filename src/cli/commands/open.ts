import type { Command } from "commander";
import { findDaemon } from "../../miner/find-daemon.ts";
import { type CommonOptions, withCommonOptions } from "../option-types.ts";
import type { Output } from "../output.ts";

/** `tah open`: the way into the dashboard of a daemon that runs already. */
export function addOpenCommand(program: Command, output: Output): void {
  withCommonOptions(
    program.command("open").description("Print the address of this computer's dashboard, with its token."),
  ).action(({ state }: CommonOptions) => {
    const { url, token } = findDaemon(state);
    output.result({ url: `${url}/?token=${token}` }, (result) => result.url);
  });
}
