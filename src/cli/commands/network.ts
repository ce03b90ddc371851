import { join } from "node:path";
import type { Command } from "commander";
import { stateFolderPath } from "../../miner/store/state-folder.ts";
import { serveNetwork } from "../../network/serve.ts";
import { lanAddresses } from "../demo/lan-addresses.ts";
import { untilStopped } from "../lifetime.ts";
import { type CommonOptions, portValue, withCommonOptions } from "../option-types.ts";
import type { Output } from "../output.ts";
import { tellParent } from "../process-messages.ts";
import { type RunOptions, withRunOptions } from "../run-options.ts";

const defaultPort = 7700;

interface ServeOptions extends CommonOptions, RunOptions {
  readonly host: string;
  readonly port: number;
}

/** `tah network serve`: the orchestrator of a network, in the foreground. */
export function addNetworkCommands(program: Command, output: Output): void {
  const network = program.command("network").description("Own a network that miners train for.");
  withRunOptions(withCommonOptions(network.command("serve").description("Serve a network and its run until stopped.")))
    .option("--host <address>", "interface to listen on; 0.0.0.0: all of them", "127.0.0.1")
    .option("--port <port>", "port to listen on; 0: any free one", portValue, defaultPort)
    .action(async (options: ServeOptions) => {
      const network = await serveNetwork(serveOptions(options, output));
      output.note(`Miners join with: tah mine --network ${network.url}`);
      tellParent({ type: "listening", url: network.url });
      const stopped = await untilStopped();
      await network.close();
      output.result({ stopped }, () => `Ended: ${stopped}.`);
    });
}
