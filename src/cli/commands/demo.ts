import { type Command, Option } from "commander";
import { demoText } from "../demo/demo-result.ts";
import { type DemoOptions, runDemo } from "../demo/run-demo.ts";
import { minutesValue, portValue, withCommonOptions } from "../option-types.ts";
import type { Output } from "../output.ts";
import { defaultNetworkPort, presetOption, withRunOptions } from "../run-options.ts";

export function addDemoCommand(program: Command, output: Output): void {
  const command = program
    .command("demo")
    .description(
      "Train on a local network: an orchestrator, this computer's miner and local peers, each a process of its own.",
    );
  withRunOptions(withCommonOptions(command), presetOption().default("demo"))
    .option("--minutes <number>", "stop so long after training began", minutesValue)
    .option(
      "--port <port>",
      `of the network; 0: any free one (default: 0, with --lan ${defaultNetworkPort})`,
      portValue,
    )
    .option("--lan", "let other computers of the local network join")
    .option("--fresh", "start anew instead of going on with the earlier run of the same kind")
    .option("--open", "open the app")
    .addOption(new Option("--require-electron", "with --open: fail where the app cannot open in Electron"))
    .action(async (options: DemoOptions) => {
      const result = await runDemo(options, output);
      if (result !== null) output.result(result, demoText);
    });
}
