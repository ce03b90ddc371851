import type { Command } from "commander";
import { withCommonOptions } from "../option-types.ts";
import type { Output } from "../output.ts";
import { version } from "../version.ts";

export function addVersionCommand(program: Command, output: Output): void {
  withCommonOptions(program.command("version").description("Say which version this is, and what it runs on.")).action(
    () => {
      const { node, napi } = process.versions;
      output.result(
        { version, node, nodeApi: napi, platform: `${process.platform}-${process.arch}` },
        (result) => `Train at Home ${result.version} on Node ${result.node} (${result.platform})`,
      );
    },
  );
}
