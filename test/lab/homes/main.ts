/**
 * `npm run lab -- homes --homes 6 --up-mbps 20 --down-mbps 100 --rtt-ms 40 -- COMMAND`: runs a command at a server that emulated homes
 * reach, for as long as it takes. It finds the server's address in TAH_LAB_SERVER and the homes in TAH_LAB_HOMES, one path a home:
 * `nsenter --net=PATH tah mine …` runs there.
 */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { z } from "zod";
import { count, readFlags } from "../../bench/shared/flags.ts";
import { EmulatedHomes, type HomeLine, serverAddress } from "./emulated-homes.ts";
import { lineFlags, lineOf } from "./line-flags.ts";

const usageError = 2;
const [flagArguments, command] = splitAt(process.argv.slice(2), "--");
const flags = readFlags(
  z.object({ homes: count.default(6), seed: z.coerce.number().int().nonnegative().default(1), ...lineFlags }),
  flagArguments,
);
const [program, ...args] = command;
if (program === undefined) {
  process.stderr.write("usage: npm run lab -- homes [FLAGS] -- COMMAND\n");
  process.exit(usageError);
}

const impossible = await EmulatedHomes.impossibleBecause();
if (impossible !== null) process.stderr.write(`skipped: ${impossible}\n`);
else process.exitCode = await runWithHomes(program, args);

/** Resolves with the command's exit code. */
async function runWithHomes(program: string, args: readonly string[]): Promise<number> {
  const { seed, congestionControl } = flags;
  const homes: HomeLine[] = Array(flags.homes).fill(lineOf(flags));
  const emulated = await EmulatedHomes.start({ homes, seed, congestionControl });
  const [enter = "", ...entering] = emulated.server.enter;
  const environment = {
    TAH_LAB_SERVER: serverAddress,
    TAH_LAB_HOMES: emulated.homes.map(({ path }) => path).join(" "),
  };
  const child = spawn(enter, [...entering, program, ...args], {
    env: { ...process.env, ...environment },
    stdio: "inherit",
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
  try {
    return await new Promise<number>((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code, signal) => resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
    });
  } finally {
    await emulated.close();
  }
}

function splitAt(words: readonly string[], mark: string): readonly [readonly string[], readonly string[]] {
  const index = words.indexOf(mark);
  return index < 0 ? [words, []] : [words.slice(0, index), words.slice(index + 1)];
}
