import type { Command } from "commander";
import type { KnownDevices } from "../../miner/probe/known-devices.ts";
import { loadMachineSettings } from "../../miner/store/settings.ts";
import { stateFolderPath } from "../../miner/store/state-folder.ts";
import { devicesText } from "../device-formats.ts";
import { cancelledWhenStopped } from "../lifetime.ts";
import { type CommonOptions, countValue, withCommonOptions } from "../option-types.ts";
import type { Output } from "../output.ts";

interface BenchOptions extends CommonOptions {
  readonly threads?: number;
  readonly fresh?: boolean;
}

/** `tah bench`: what the daemon does at its start to choose a device, for people to look at. */
export function addBenchCommand(program: Command, output: Output): void {
  withCommonOptions(program.command("bench").description("Test and measure this machine's devices, and choose one."))
    .option("--threads <number>", "processor threads to measure with", countValue)
    .option("--fresh", "measure again, even if nothing has changed")
    .action(async ({ state, threads, fresh }: BenchOptions) => {
      const { knownDevices } = await import("../../miner/probe/known-devices.ts");
      const stateFolder = state ?? stateFolderPath();
      const settings = loadMachineSettings(stateFolder, { threads }, (text) => output.note(text));
      const known = await knownDevices({
        stateFolder,
        threads: settings.threads,
        fresh,
        signal: cancelledWhenStopped("Nothing chosen"),
        onProgress: (text) => output.progress(text),
      });
      output.result<KnownDevices>(known, devicesText);
    });
}
