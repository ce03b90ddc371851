/**
 * A replica's side of averaging what every optimizer step moved with the other replicas of its stage (`src/miner/exchange` carries it).
 *
 * A step moves replica i from θ to θ − Δᵢ. It sends pᵢ, which is Δᵢ and the residual eᵢ of earlier steps in few bits, and keeps the new
 * residual: eᵢ ← Δᵢ + eᵢ − pᵢ (error feedback: Seide 2014, Karimireddy 2019). When the others' movements are here, at once or a step
 * later, θᵢ ← θᵢ + pᵢ − mean pⱼ, weighted by tokens.
 *
 * So θᵢ is always S − eᵢ − (what of pᵢ is not averaged yet), where S is the same for all who have averaged the same. A replica trains
 * where it would be if nothing had been rounded, which costs the loss less than half as much as to train on S (docs/benchmarks.md);
 * and the mean of all replicas, which is what a merge takes, never loses anything.
 */
import { type ExchangePart, exchangeParts } from "../protocol/exchange-messages.ts";
import type { TrainingConfig, VectorCodec } from "../protocol/run-config.ts";
import { MalformedPayloadError } from "./codec/malformed.ts";
import { decodeVector, encodeVector, encodeWithFeedback } from "./codec/vector.ts";
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
   * `exchangeParts`. `seed`: 32 bits, of what is random about the codec. Throws `NonFiniteError`.
   */
  move(take: (from: number, to: number) => void, seed: number): Promise<readonly Uint8Array[]>;
  /** The average of a step takes the place of what this replica moved by itself. */
  average(contributions: readonly StepContribution[]): StepAverage;
  /** Forgets what has been rounded away: a merge has it, or the weights are others. */
  restart(): void;
}

/** Host memory for what is rounded away of the steps of a replica of so many parameters. */
export function stepResidualBytes({ mode, compression }: TrainingConfig, parameters: number): number {
  const codec = mode === "local-steps" ? compression.exchange?.codec : undefined;
  return codec === undefined || codec.kind === "f32" ? 0 : Float32Array.BYTES_PER_ELEMENT * parameters;
}

export function createStepExchange(
  device: Device,
  parameters: Slice,
  codec: VectorCodec,
  { stepStart, moved }: ExchangeMemory,
): StepExchange {
  const { kernels } = device;
  const parts = exchangeParts(parameters.length);
  /** In host memory, since the codec runs there. Null while nothing has been rounded away. */
  let residual: Float32Array | null = null;
  /** One part on its way from the device: the first one is the longest. */
  let values: Float32Array | null = null;
  let own: readonly Uint8Array[] = [];

  /** Of one part of the weights: before − after its step. */
  async function movePart({ from, length }: ExchangePart, take: (from: number, to: number) => void) {
    const weights = rowsOf(parameters, 1, from, length);
    const difference = rowsOf(moved.use(), 1, 0, length);
    const before = rowsOf(stepStart.use(), 1, 0, length);
    kernels.copy(before, weights);
    take(from, from + length);
    kernels.copy(difference, before);
    kernels.addScaled(difference, weights, -1);
    values ??= new Float32Array(difference.length);
    const downloaded = await device.download(difference, values.subarray(0, length));
    checkFinite(downloaded, "what a step moved");
    return downloaded;
  }

  /** Adds pᵢ − mean pⱼ to one part of the weights; `decoded` is null for what does not decode. */
  function averagePart({ from, length }: ExchangePart, decoded: readonly (Decoded & StepContribution)[]) {
    const { values: mean, outliers } = averageSlices(decoded, "local-steps");
    if (mean === null) return outliers;
    const owned = decoded.find(({ parts }) => parts === null)?.values;
    for (let i = 0; i < length; i++) mean[i] = (owned?.[i] ?? 0) - (mean[i] as number);
    const correction = rowsOf(moved.use(), 1, 0, length);
    device.upload(correction, mean);
    kernels.addScaled(rowsOf(parameters, 1, from, length), correction, 1);
    return outliers;
  }

  return {
    async move(take, seed) {
      if (codec.kind !== "f32") residual ??= new Float32Array(parameters.length);
      own = [];
      const payloads: Uint8Array[] = [];
      for (const part of parts) {
        const difference = await movePart(part, take);
        const rounded = residual?.subarray(part.from, part.from + part.length);
        payloads.push(
          rounded === undefined
            ? encodeVector(difference, codec, seed)
            : encodeWithFeedback(difference, rounded, codec, seed).payload,
        );
      }
      own = payloads;
      return payloads;
    },

    average(contributions) {
      const malformed = new Set<number>();
      const outliers = new Set<number>();
      for (const [index, part] of parts.entries()) {
        const decoded = contributions.map((contribution, contributor) => {
          const values = decodedOrNull((contribution.parts ?? own)[index], part.length);
          if (values === null) malformed.add(contributor);
          return { ...contribution, values };
        });
        for (const contributor of averagePart(part, decoded)) outliers.add(contributor);
      }
      own = [];
      return { malformed: [...malformed], outliers: [...outliers] };
    },

    restart() {
      residual?.fill(0);
      own = [];
    },
  };
}

interface Decoded {
  readonly values: Float32Array | null;
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
