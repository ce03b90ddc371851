/**
 * A replica's side of averaging what every optimizer step moved with the other replicas of its stage (`src/miner/exchange` carries it).
 *
 * A step moves replica i from θ to θ − Δᵢ. It sends pᵢ, which is Δᵢ and the residual eᵢ of earlier steps in few bits, and keeps the new
 * residual: eᵢ ← Δᵢ + eᵢ − pᵢ (error feedback: Seide 2014, Karimireddy 2019). When the others' movements are here, at once or a step
 * later, θᵢ ← θᵢ + pᵢ − mean pⱼ, weighted by tokens.
 *
 * So θᵢ is always S − eᵢ − (what of pᵢ is not averaged yet), where S is the same for all who have averaged the same. A replica trains
 * where it would be if nothing had been rounded, which costs the loss less than half as much as to train on S (ADR 0008);
 * and the mean of all replicas, which is what a merge takes, never loses anything.
 */
import { type ExchangePart, exchangeParts, largestExchangeGroup } from "../protocol/exchange-messages.ts";
import type { TrainingConfig, VectorCodec } from "../protocol/run-config.ts";
import { MalformedPayloadError } from "./codec/malformed.ts";
import { decodeVector, encodeVector, encodeWithFeedback, vectorPayloadBytes } from "./codec/vector.ts";
import type { Device, Slice } from "./kernels.ts";
import { outliersAmong, type SliceContribution } from "./merge/average-slices.ts";
import { rowsOf } from "./model/memory.ts";
import type { ExchangeMemory } from "./model/replica-memory.ts";

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

/** Decoded at once while a step is averaged: every member of a group, and their sum. */
const mostBuffers = largestExchangeGroup + 1;
/** In the daemon, a replica's own movements and those of the rest of its group, of two steps; the last one of its own in the worker. */
const mostMovements = 2 * largestExchangeGroup + 1;

/** Host memory for the movements of steps, on their way and decoded, of a replica of so many parameters. */
export function stepExchangeBytes({ mode, compression }: TrainingConfig, parameters: number): number {
  const codec = mode === "local-steps" ? compression.exchange?.codec : undefined;
  if (codec === undefined) return 0;
  const parts = exchangeParts(parameters);
  const movementBytes = parts.reduce((sum, { length }) => sum + vectorPayloadBytes(codec, length).most, 0);
  const bufferBytes = Float32Array.BYTES_PER_ELEMENT * (parts[0]?.length ?? 0);
  return mostBuffers * bufferBytes + mostMovements * movementBytes;
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
  let own: readonly Uint8Array[] = [];
  /** Room for one part of the vector in each, used again and again: to allocate them takes longer than to fill them. */
  const buffers: Float32Array[] = [];

  /** Of the longest part's length, which is the first one's, cut to what is asked for. */
  function buffer(index: number, length: number): Float32Array {
    buffers[index] ??= new Float32Array(parts[0]?.length ?? 0);
    return buffers[index].subarray(0, length);
  }

  /** Of one part of the weights: before − after its step. */
  async function movePart({ from, length }: ExchangePart, take: (from: number, to: number) => void) {
    const weights = rowsOf(parameters, 1, from, length);
    const difference = rowsOf(moved.use(), 1, 0, length);
    const before = rowsOf(stepStart.use(), 1, 0, length);
    kernels.copy(before, weights);
    take(from, from + length);
    kernels.copy(difference, before);
    kernels.addScaled(difference, weights, -1);
    return device.download(difference, buffer(0, length));
  }

  /** With what is left over of earlier steps; what is left over of this one is kept in its place. `values` are overwritten. */
  function encodePart({ from, length }: ExchangePart, values: Float32Array, seed: number): Uint8Array {
    const left = residual?.subarray(from, from + length);
    if (left === undefined) return encodeVector(values, codec, seed);
    return encodeWithFeedback(values, left, codec, seed, buffer(1, length)).payload;
  }

  /** Adds pᵢ − mean pⱼ to one part of the weights; returns the outliers. `decoded` is null for what does not decode. */
  function averagePart({ from, length }: ExchangePart, decoded: readonly DecodedContribution[]): readonly number[] {
    const outliers = outliersAmong(decoded, "local-steps");
    const kept = decoded.map((one, index) => (one.values === null || outliers.includes(index) ? 0 : one.tokens));
    const tokens = kept.reduce((sum, one) => sum + one, 0);
    if (tokens === 0) return outliers;
    const terms = decoded.flatMap(({ values, isOwn }, index): Term[] => {
      const factor = Number(isOwn) - (kept[index] ?? 0) / tokens;
      return values === null || factor === 0 ? [] : [{ values, factor }];
    });
    const correction = combined(terms, buffer(0, length));
    const target = rowsOf(moved.use(), 1, 0, length);
    device.upload(target, correction);
    kernels.addScaled(rowsOf(parameters, 1, from, length), target, 1);
    return outliers;
  }

  return {
    async move(take, seed) {
      if (codec.kind !== "f32") residual ??= new Float32Array(parameters.length);
      own = [];
      const payloads: Uint8Array[] = [];
      for (const part of parts) {
        payloads.push(encodePart(part, await movePart(part, take), seed));
      }
      own = payloads;
      return payloads;
    },

    average(contributions) {
      const malformed = new Set<number>();
      const outliers = new Set<number>();
      for (const [index, part] of parts.entries()) {
        const decoded = contributions.map(({ parts, tokens }, contributor) => {
          const values = decodedOrNull((parts ?? own)[index], buffer(1 + contributor, part.length));
          if (values === null) malformed.add(contributor);
          return { values, tokens, isOwn: parts === null };
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

interface DecodedContribution extends SliceContribution {
  readonly isOwn: boolean;
}

interface Term {
  readonly values: Float32Array;
  readonly factor: number;
}

/** Σ factor · values, into `out`: at the end of a step time is short, so that two are added in one go. */
function combined(terms: readonly Term[], out: Float32Array): Float32Array {
  out.fill(0);
  const nothing = { values: out, factor: 0 };
  for (let at = 0; at < terms.length; at += 2) {
    const { values: a, factor: aFactor } = terms[at] ?? nothing;
    const { values: b, factor: bFactor } = terms[at + 1] ?? nothing;
    for (let i = 0; i < out.length; i++)
      out[i] = (out[i] as number) + aFactor * (a[i] as number) + bFactor * (b[i] as number);
  }
  return out;
}

/** Null for what no encoder writes. `out` has as many numbers as it is to have. */
function decodedOrNull(payload: Uint8Array | undefined, out: Float32Array): Float32Array | null {
  try {
    return payload === undefined ? null : decodeVector(payload, out.length, out);
  } catch (error) {
    if (error instanceof MalformedPayloadError) return null;
    throw error;
  }
}
