/**
 * Averages one slice over its contributors as they sent it, and encodes the average for everybody. The bits are the same in every
 * owner: the codec's and the sums' are, on every machine.
 */
import type { TrainingConfig, VectorCodec } from "../../protocol/run-config.ts";
import { MalformedPayloadError } from "../codec/malformed.ts";
import { decodeVector, encodeVector, vectorPayloadBytes } from "../codec/vector.ts";
import { NonFiniteError } from "../non-finite.ts";
import { averageSlices } from "./average-slices.ts";

export interface PayloadContribution {
  /** Null: it could not be had. */
  readonly payload: Uint8Array | null;
  /** Its weight. */
  readonly tokens: number;
}

export interface AveragedPayload {
  /** Null when there is nothing to average, or the average is no number. */
  readonly payload: Uint8Array | null;
  /** Indices of the contributions that were left out because of what they hold, if it is anything at all. */
  readonly outliers: readonly number[];
  /** What everybody decodes is so much less than the average. */
  readonly error: Float32Array | null;
  /** By how much a contribution's numbers are multiplied in the average, by index; 0: it was left out. */
  readonly factors: readonly number[];
}

/** `length`: of the slice, in numbers. */
export function averagePayloads(
  contributions: readonly PayloadContribution[],
  length: number,
  { codec, mode, seed }: { readonly codec: VectorCodec; readonly mode: TrainingConfig["mode"]; readonly seed: number },
): AveragedPayload {
  const decoded = contributions.map(({ payload, tokens }) => ({
    values: payload === null || tokens === 0 ? null : decodedOrNull(payload, codec, length),
    tokens,
  }));
  const { values, outliers } = averageSlices(decoded, mode);
  const isMalformed = (index: number) => {
    const { payload, tokens } = contributions[index] ?? { payload: null, tokens: 0 };
    return payload !== null && tokens > 0 && decoded[index]?.values === null;
  };
  const leftOut = contributions.flatMap((_, index) => (outliers.includes(index) || isMalformed(index) ? [index] : []));
  const weights = decoded.map((one, index) => (one.values === null || leftOut.includes(index) ? 0 : one.tokens));
  const kept = weights.reduce((sum, weight) => sum + weight, 0);
  const all = contributions.reduce((sum, { tokens }) => sum + tokens, 0);
  const factors = weights.map((weight) => (mode === "sync" ? Math.sign(weight) * (all / kept) : weight / kept));
  if (values === null) return { payload: null, outliers: leftOut, error: null, factors };
  const only = onlyOne(contributions, factors);
  // Decoded and encoded again it would be rounded twice.
  if (only !== null && codec.kind !== "f32") return { payload: only, outliers: leftOut, error: null, factors };
  const payload = encodedOrNull(values, codec, seed);
  const isRounded = payload !== null && codec.kind !== "f32";
  return { payload, outliers: leftOut, error: isRounded ? errorOf(values, payload) : null, factors };
}

/** Null for what is no payload of the run's codec. */
function decodedOrNull(payload: Uint8Array, codec: VectorCodec, length: number): Float32Array | null {
  const { least, most } = vectorPayloadBytes(codec, length);
  if (payload.length < least || payload.length > most) return null;
  try {
    return decodeVector(payload, length);
  } catch (error) {
    if (error instanceof MalformedPayloadError) return null;
    throw error;
  }
}

/** Null for what is too large for any number that training comes to. */
function encodedOrNull(values: Float32Array, codec: VectorCodec, seed: number): Uint8Array | null {
  try {
    return encodeVector(values, codec, seed);
  } catch (error) {
    if (error instanceof NonFiniteError) return null;
    throw error;
  }
}

/** The payload of the one contribution that the average consists of, if it is one and as it is. */
function onlyOne(contributions: readonly PayloadContribution[], factors: readonly number[]): Uint8Array | null {
  const counted = contributions.filter((_, index) => factors[index] !== 0);
  const isWhole = counted.length === 1 && factors.includes(1);
  return isWhole ? (counted[0]?.payload ?? null) : null;
}

function errorOf(values: Float32Array, payload: Uint8Array): Float32Array {
  const decoded = decodeVector(payload, values.length);
  return values.map((value, i) => value - (decoded[i] as number));
}
