/** The configurations of the suite, and what their speed must be against the peer's. */
import { type Configuration, configured } from "./configuration.ts";

export interface SuiteCase {
  /** Unique; ends with its precision and threads. */
  readonly name: string;
  readonly kind: "block" | "model" | "odd block";
  readonly configuration: Configuration;
  readonly speedTarget: number;
}

const blockTarget = 1.25;
const modelTarget = 1.5;
/** The same ratio holds on odd shapes within 10 %. */
const oddTarget = 0.9 * blockTarget;

const precisions = ["f32", "bf16"] as const;
const model = { layers: 6, d: 384, heads: 6, ff: 1024, adamw: true };

const oddShapes: Readonly<Record<string, Partial<Configuration>>> = {
  "wide and long": { d: 768, heads: 12, ff: 2048, seq: 512 },
  "grouped queries": { keyValueHeads: 2 },
  "batch 1": { batch: 1 },
  "uneven width": { d: 336, heads: 8, ff: 904 },
};

export const suiteCases: readonly SuiteCase[] = precisions.flatMap((dtype) => [
  ...[1, 2].flatMap((threads) => [
    suiteCase("block", "block", blockTarget, { dtype, threads }),
    suiteCase("model, vocabulary 256", "model", modelTarget, { ...model, vocab: 256, dtype, threads }),
    // A step takes seconds: few of them are enough.
    suiteCase("model, vocabulary 50257", "model", modelTarget, { ...model, vocab: 50_257, steps: 3, dtype, threads }),
  ]),
  ...Object.entries(oddShapes).map(([name, shape]) =>
    suiteCase(`block, ${name}`, "odd block", oddTarget, { ...shape, dtype, threads: 2 }),
  ),
]);

/** The plain block in one precision: what shares and scaling are taken from. */
export function blockCase(dtype: Configuration["dtype"], threads: number): string {
  return caseName("block", dtype, threads);
}

function suiteCase(
  name: string,
  kind: SuiteCase["kind"],
  speedTarget: number,
  given: Partial<Configuration>,
): SuiteCase {
  const configuration = configured(given);
  return { name: caseName(name, configuration.dtype, configuration.threads), kind, configuration, speedTarget };
}

function caseName(name: string, dtype: Configuration["dtype"], threads: number): string {
  return `${name}, ${dtype}, ${threads} ${threads === 1 ? "thread" : "threads"}`;
}
