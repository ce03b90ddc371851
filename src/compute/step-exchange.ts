/**
 * A replica's side of averaging what every optimizer step moved with the other replicas of its stage (`src/miner/exchange` carries it).
 * With S the weights that they share before a step, Δᵢ what a replica's own step moves them by, and pᵢ what is decoded of Δᵢ:
 *
 * - `lag` 0: S ← S − mean pᵢ. Averages are taken as those of a merge, in the order given, and a subtraction is rounded once: the same
 *   movements leave the same bits in every replica, whatever computes there.
 * - `lag` 1: training goes on from S − Δᵢ while movements travel. At the next step's end S ← S − mean pᵢ, from where that step is
 *   taken: only what happened since is not shared.
 *
 * Error feedback (Karimireddy 2019): what is rounded away of a movement goes along with the next one, and at the epoch's end with the merge.
 */
import { type ExchangePart, exchangeParts } from "../protocol/exchange-messages.ts";
import type { Compression } from "../protocol/run-config.ts";
import { MalformedPayloadError } from "./codec/malformed.ts";
import { decodeVector, encodeWithFeedback } from "./codec/vector.ts";
import type { Device, Slice } from "./kernels.ts";
import { averageSlices } from "./merge/average-slices.ts";
import { rowsOf } from "./model/memory.ts";
import type { ExchangeMemory } from "./model/replica-memory.ts";
import { checkFinite } from "./non-finite.ts";

/** What one replica's step moved. */
export interface StepContribution {
  /** As `stepDelta` gave them; null: this replica's own of its last step. */
  readonly parts: readonly Uint8Array[] | null;
  /** Its weight in the average. */
  readonly tokens: number;
}

/** Indices of contributions of which something was left out. */
export interface StepAverage {
  /** Because it does not decode. */
  readonly malformed: readonly number[];
  /** Because of what it holds, next to the others. */
  readonly outliers: readonly number[];
}

export interface StepExchange {
  /**
   * Has the optimizer take its step, `take` for each range of the weights, and returns what it moved, encoded in the parts of
   * `exchangeParts`. Throws `NonFiniteError` with the weights as they were.
   */
  move(take: (from: number, to: number) => void, seed: number): Promise<readonly Uint8Array[]>;
  /** The average of a step takes the place of what this replica moved by itself. */
  average(contributions: readonly StepContribution[]): StepAverage;
  /** The weights have been moved without the others. */
  leave(): void;
  /** What has been rounded away so far goes into the weights: nothing of it is left. */
  settle(): void;
  /** Everything is forgotten: the weights are others. */
  restart(): void;
}

export function createStepExchange(
  device: Device,
  parameters: Slice,
  { codec, lag }: NonNullable<Compression["exchange"]>,
  { stepStart, moved, shared }: ExchangeMemory,
): StepExchange {
  const { kernels } = device;
  const parts = exchangeParts(parameters.length);
  /** Host memory, since the codec runs there. */
  let residual: Float32Array | null = null;
  let own: readonly Uint8Array[] = [];
  /** Whether `shared` holds the weights that all replicas have in common; with `lag` 0 the weights are those themselves. */
  let isShared = false;

  /** The weights that are shared, with room of their own where training goes on meanwhile. */
  function sharedWeights(): Slice {
    if (shared === null) return parameters;
    if (!isShared) kernels.copy(shared.use(), parameters);
    isShared = true;
    return shared.use();
  }

  function restore(): void {
    if (shared !== null && isShared) kernels.copy(parameters, shared.use());
  }

  /** Of one part of the weights: before − after its step, which `lag` 0 takes back. */
  async function movePart({ from, length }: ExchangePart, take: (from: number, to: number) => void) {
    const weights = rowsOf(parameters, 1, from, length);
    const before = rowsOf(stepStart.use(), 1, 0, length);
    const difference = rowsOf(moved.use(), 1, 0, length);
    kernels.copy(before, weights);
    take(from, from + length);
    kernels.copy(difference, before);
    kernels.addScaled(difference, weights, -1);
    if (lag === 0) kernels.copy(weights, before);
    const values = await device.download(difference);
    checkFinite(values, "what a step moved");
    return values;
  }

  return {
    async move(take, seed) {
      sharedWeights();
      residual ??= new Float32Array(parameters.length);
      own = [];
      const payloads: Uint8Array[] = [];
      try {
        for (const part of parts) {
          const values = await movePart(part, take);
          const rounded = residual.subarray(part.from, part.from + part.length);
          payloads.push(encodeWithFeedback(values, rounded, codec, seed).payload);
        }
      } catch (error) {
        restore();
        throw error;
      }
      own = payloads;
      return payloads;
    },

    average(contributions) {
      const malformed = new Set<number>();
      const outliers = new Set<number>();
      const target = sharedWeights();
      for (const [index, { from, length }] of parts.entries()) {
        const decoded = contributions.map(({ parts, tokens }, contributor) => {
          const values = decodedOrNull((parts ?? own)[index], length);
          if (values === null) malformed.add(contributor);
          return { values, tokens };
        });
        const average = averageSlices(decoded, "local-steps");
        for (const contributor of average.outliers) outliers.add(contributor);
        if (average.values === null) continue;
        const difference = rowsOf(moved.use(), 1, 0, length);
        device.upload(difference, average.values);
        kernels.addScaled(rowsOf(target, 1, from, length), difference, -1);
      }
      restore();
      own = [];
      return { malformed: [...malformed], outliers: [...outliers] };
    },

    leave() {
      isShared = false;
    },

    settle() {
      if (residual === null) return;
      for (const { from, length } of parts) {
        const difference = rowsOf(moved.use(), 1, 0, length);
        device.upload(difference, residual.subarray(from, from + length));
        kernels.addScaled(rowsOf(parameters, 1, from, length), difference, -1);
      }
      residual.fill(0);
    },

    restart() {
      residual?.fill(0);
      own = [];
      isShared = false;
    },
  };
}

/** Null for what no encoder writes. */
function decodedOrNull(payload: Uint8Array | undefined, length: number): Float32Array | null {
  try {
    return payload === undefined ? null : decodeVector(payload, length);
  } catch (error) {
    if (error instanceof MalformedPayloadError) return null;
    throw error;
  }
}
