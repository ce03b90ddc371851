/** Runs the programs that measure, ours and the peer's, each measurement in a process of its own. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { computeProcess } from "../../../src/compute/compute-process.ts";
import { argumentsOf, type Configuration } from "./configuration.ts";
import { productsOf } from "./shape.ts";

const sampleSchema = z.object({
  engine: z.string(),
  tokensPerSecond: z.number().positive(),
  medianTokensPerSecond: z.number().positive(),
  peakRssMiB: z.number().positive(),
});
/** What one process measured of one configuration. */
export type Sample = Readonly<z.infer<typeof sampleSchema>>;

const ratesSchema = z.object({
  gemmGflops: z.number().positive(),
  adamwNanosecondsPerParameter: z.number().positive(),
});
export type Rates = Readonly<z.infer<typeof ratesSchema>>;

/** The peer's command as its words, such as `python3 torch_llama.py`. */
export type PeerCommand = readonly string[];

export function runTraining(configuration: Configuration): Sample {
  const { execArgv, environment } = computeProcess; // as the compute worker is started
  const program = [process.execPath, ...execArgv, beside("training-process.ts")];
  return sampleSchema.parse(run([...program, JSON.stringify(configuration)], environment));
}

export function runRates(configuration: Configuration): Rates {
  return ratesSchema.parse(run([process.execPath, beside("rates-process.ts"), ...argumentsOf(configuration)]));
}

export function runPeer(peer: PeerCommand, configuration: Configuration): Sample {
  return sampleSchema.parse(run([...peer, ...argumentsOf(configuration, true)]));
}

/** PyTorch's own matrix products, where the peer is a program of its interpreter; else null. */
export function runPeerGemm(peer: PeerCommand, configuration: Configuration): number | null {
  const script = peer.findIndex((word) => word.endsWith(".py"));
  if (script < 1) return null;
  const { threads, dtype } = configuration;
  const products = productsOf(configuration).map(({ m, n, k }) => `${m}x${n}x${k}`);
  const command = [...peer.slice(0, script), beside("torch_gemm.py"), "--threads", `${threads}`, "--dtype", dtype];
  return ratesSchema.pick({ gemmGflops: true }).parse(run([...command, ...products])).gemmGflops;
}

/** The JSON object that a program prints as its last line. */
function run([program = "", ...args]: readonly string[], environment: NodeJS.ProcessEnv = {}): unknown {
  const env = { ...environment, ...process.env };
  const output = execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], env });
  return JSON.parse(output.trim().split("\n").at(-1) ?? "null");
}

function beside(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
