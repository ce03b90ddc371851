/**
 * `npm run bench -- compute`: forward and backward of Llama blocks through the training engine, in tokens per second, and the
 * share of this machine's matrix-multiplication rate that they reach. With `--peer COMMAND` another program that takes the same
 * flags and prints the same keys is measured in turn with ours, round by round, and the ratio of the medians is given.
 */
import { execFileSync } from "node:child_process";
import os from "node:os";
import { parseArgs } from "node:util";
import { openDevice } from "../../src/compute/device.ts";
import { createEngine } from "../../src/compute/engine.ts";
import { type Device, type Precision, slice } from "../../src/compute/kernels.ts";
import type { ModelConfig, StageSpec } from "../../src/compute/model/config.ts";
import { presets } from "../../src/compute/model/presets.ts";
import { wholeModel } from "../../src/compute/model/stages.ts";
import { fillNormal, streamKey } from "../../src/compute/random.ts";
import type { OpenOptions } from "../../src/compute/worker-protocol.ts";
import { commit, median, printResult } from "./shared/report.ts";

const shapeDefaults = { layers: 1, d: 512, heads: 8, ff: 1408, seq: 256, batch: 4, vocab: 0 };
const seed = 1;

const { values: flags } = parseArgs({
  options: {
    ...Object.fromEntries(
      Object.entries({ threads: 1, steps: 10, rounds: 5, ...shapeDefaults }).map(([name, value]) => [
        name,
        { type: "string" as const, default: String(value) },
      ]),
    ),
    dtype: { type: "string", default: "f32" },
    adamw: { type: "boolean", default: false },
    backend: { type: "string", default: "native" },
    peer: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const number = (name: string) => Number((flags as Record<string, unknown>)[name]);
const shape = {
  layers: number("layers"),
  d: number("d"),
  heads: number("heads"),
  ff: number("ff"),
  seq: number("seq"),
  batch: number("batch"),
  vocab: number("vocab"),
};
const threads = number("threads");
const steps = number("steps");
const tokens = shape.batch * shape.seq;
const backend = backendNamed(flags.backend);
const precision = precisionNamed(flags.dtype);

const model: ModelConfig = {
  ...presets.demo.model,
  vocabulary: shape.vocab || 1,
  width: shape.d,
  layers: shape.layers,
  heads: shape.heads,
  keyValueHeads: shape.heads,
  feedForward: shape.ff,
  context: shape.seq,
};
/** Without a vocabulary: bare blocks, as in a stage in the middle of the pipeline. */
const bareBlocks: StageSpec = { index: 1, count: 3, fromLayer: 0, toLayer: shape.layers };

const ours: number[] = [];
const theirs: number[] = [];
let peer: Record<string, unknown> | null = null;
const gemm: number[] = [];
for (let round = 0; round < number("rounds"); round++) {
  process.stderr.write(`round ${round + 1} of ${number("rounds")}\n`);
  gemm.push(await gemmRate());
  ours.push(...(await stepSeconds()));
  if (flags.peer) {
    peer = runPeer(flags.peer);
    theirs.push(Number(peer.medianTokensPerSecond));
  }
}

const medianTokensPerSecond = tokens / median(ours);
// Per token and layer: 2 FLOP per weight forward and 4 backward; attention's two products over half the positions, thrice.
const blockWeights = 4 * shape.d * shape.d + 3 * shape.d * shape.ff;
const flopPerToken = shape.layers * (6 * blockWeights + 6 * shape.seq * shape.d) + 6 * shape.d * shape.vocab;
const gemmGflops = Math.max(...gemm);
const blockGflops = (medianTokensPerSecond * flopPerToken) / 1e9;
printResult({
  engine: `train-at-home ${backend}`,
  dtype: precision,
  threads,
  adamw: flags.adamw,
  shape,
  tokensPerSecond: Math.round(tokens / Math.min(...ours)),
  medianTokensPerSecond: Math.round(medianTokensPerSecond),
  peakRssMiB: Math.round(process.resourceUsage().maxRSS / 1024),
  gemmGflops: Math.round(gemmGflops),
  blockGflops: Math.round(blockGflops),
  fractionOfGemm: Number((blockGflops / gemmGflops).toFixed(3)),
  ...(peer && { peer, speedRatio: Number((medianTokensPerSecond / median(theirs)).toFixed(3)) }),
  seed,
  machine: { cpu: os.cpus()[0]?.model, cores: os.availableParallelism(), memoryBytes: os.totalmem() },
  commit: commit(),
});

function backendNamed(name: string): OpenOptions["backend"] {
  if (name === "native" || name === "webgpu" || name === "reference") return name;
  throw new Error(`there is no ${name} back end; native, webgpu and reference are what there is`);
}

function precisionNamed(name: string): Precision {
  if (name === "f32" || name === "bf16") return name;
  throw new Error(`there is no precision ${name}; f32 and bf16 are what there is`);
}

/** Seconds of each of `steps` training steps after two for warm-up. */
async function stepSeconds(): Promise<number[]> {
  const engine = createEngine(openDevice);
  const stage = shape.vocab ? wholeModel(model) : bareBlocks;
  const training = {
    ...presets.demo.training,
    sequenceLength: shape.seq,
    sequencesPerMicrobatch: shape.batch,
    learningRate: 1e-6,
  };
  await engine.open({ backend, threads, precision, model, training, stage });
  const ids = Int32Array.from({ length: tokens }, (_, index) => (index * 7919) % (shape.vocab || 1));
  const activations = new Float32Array(tokens * shape.d);
  fillNormal(activations, streamKey(seed, "activations"), 1);
  const seconds: number[] = [];
  for (let step = -2; step < steps; step++) {
    const startMs = performance.now();
    const microbatch = String(step);
    if (shape.vocab) {
      await engine.forwardBackward({ microbatch, sequences: shape.batch, tokens: ids, targets: ids });
    } else {
      const { activations: gradient } = await engine.forward({ microbatch, sequences: shape.batch, activations });
      await engine.backward({ microbatch, gradient });
    }
    if (flags.adamw) await engine.step();
    if (step >= 0) seconds.push((performance.now() - startMs) / 1000);
  }
  engine.close();
  return seconds;
}

/** Best rate over the block's own matrix products, GFLOP/s. */
async function gemmRate(): Promise<number> {
  const device = await openDevice({ backend, threads, precision });
  const products = [
    { m: tokens, n: shape.d, k: shape.d },
    { m: tokens, n: shape.ff, k: shape.d },
    { m: tokens, n: shape.d, k: shape.ff },
  ];
  let best = 0;
  for (const { m, n, k } of products) {
    const [out, a, b] = [m * n, m * k, k * n].map((length) => slice(device.allocate(length)));
    if (!out || !a || !b) throw new Error("three buffers make three slices");
    for (let repeat = 0; repeat < 12; repeat++) {
      const startMs = performance.now();
      device.kernels.matmul(out, a, b, { m, n, k, transposeB: true });
      await finished(device, out.buffer);
      best = Math.max(best, (2 * m * n * k) / ((performance.now() - startMs) * 1e6));
    }
  }
  device.close();
  return best;
}

async function finished(device: Device, buffer: ReturnType<Device["allocate"]>): Promise<void> {
  await device.download(slice(buffer, 0, 1));
}

function runPeer(command: string): Record<string, unknown> {
  const [program = "", ...first] = command.split(" ");
  const shapeFlags = Object.entries({ threads, steps, ...shape }).flatMap(([name, value]) => [
    `--${name}`,
    String(value),
  ]);
  const args = [...first, ...shapeFlags, "--dtype", precision, ...(flags.adamw ? ["--adamw"] : [])];
  const output = execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  return JSON.parse(output.trim().split("\n").at(-1) ?? "null") as Record<string, unknown>;
}
