/** A process that measures single kernels: the best rate of a block's matrix products, and the optimizer's cost. */
import { openDevice } from "../../../src/compute/device.ts";
import { type Device, type Slice, slice } from "../../../src/compute/kernels.ts";
import { readFlags } from "../shared/flags.ts";
import { median, printResult } from "../shared/report.ts";
import { configurationSchema } from "./configuration.ts";
import { productsOf } from "./shape.ts";

const configuration = readFlags(configurationSchema);
const { backend, threads, dtype: precision } = configuration;
const repeats = 12;

const device = await openDevice({ backend, threads, precision });
printResult({ gemmGflops: await gemmGflops(device), adamwNanosecondsPerParameter: await adamwCost(device) });
device.close();

/** The best single product: what the machine can do when nothing is in the way. */
async function gemmGflops({ kernels }: Device): Promise<number> {
  let best = 0;
  for (const { m, n, k } of productsOf(configuration)) {
    const [out, a, b] = [allocated(m * n), allocated(m * k), allocated(k * n)];
    for (let repeat = 0; repeat < repeats; repeat++) {
      const seconds = await timed(out, () => kernels.matmul(out, a, b, { m, n, k, transposeB: true }));
      best = Math.max(best, (2 * m * n * k) / (seconds * 1e9));
    }
    for (const { buffer } of [out, a, b]) device.free(buffer);
  }
  return best;
}

/** In nanoseconds per parameter, over more parameters than caches hold. */
async function adamwCost({ kernels }: Device): Promise<number> {
  // A software GPU or the reference needs no large vectors to be far from memory's limit.
  const length = backend === "native" ? 8 << 20 : 1 << 16;
  const [parameters, gradients, first, second] = [length, length, length, length].map(allocated) as [
    ...[Slice, Slice, Slice, Slice],
  ];
  kernels.fill(gradients, 1e-3);
  const betas = { gradientScale: 1, beta1: 0.9, beta2: 0.95, epsilon: 1e-8 };
  const rates = { momentRate: 1e-6, gradientRate: 0, rootScale: 1, decayRate: 1e-7 };
  const seconds: number[] = [];
  for (let repeat = 0; repeat < repeats; repeat++)
    seconds.push(
      await timed(parameters, () => kernels.adam(parameters, gradients, first, second, { ...betas, ...rates })),
    );
  return (median(seconds) * 1e9) / length;
}

function allocated(length: number): Slice {
  return slice(device.allocate(length));
}

async function timed(out: Slice, call: () => void): Promise<number> {
  const startMs = performance.now();
  call();
  await device.download(slice(out.buffer, 0, 1));
  return (performance.now() - startMs) / 1000;
}
