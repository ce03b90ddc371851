/**
 * Bytes as an attacker may send them, to every decoder: payloads with bytes changed, cut short or drawn out, another codec's, and
 * random ones of the right length and of any.
 */
import { MalformedPayloadError } from "../../../src/compute/codec/malformed.ts";
import type { RowsShape } from "../../../src/compute/codec/rows.ts";
import { fillNormal, type Key, streamKey, threefry, type Words } from "../../../src/compute/random.ts";
import { type MeasuredCodec, measuredCodecs } from "./codec-list.ts";

export interface FuzzResult {
  readonly cases: number;
  /** As many numbers as announced, all of them finite. */
  readonly decoded: number;
  readonly refused: number;
  /** Anything else: another error, numbers that are not finite, or a byte written outside of what was to be written. */
  readonly failed: number;
  /** The first of them. */
  readonly firstFailure: string | null;
}

const shapes: readonly RowsShape[] = [
  { rows: 1, columns: 32 },
  { rows: 3, columns: 50 },
  { rows: 2, columns: 256 },
  { rows: 1, columns: 4200 },
];
/** Numbers on either side of those that a decoder writes: they must stay as they are. */
const margin = 16;
const untouched = 12_345;

export function fuzz(cases: number, seed: number): FuzzResult {
  const random = new Random(streamKey(seed, "fuzz"));
  const targets = targetsFor(seed);
  const counts = { decoded: 0, refused: 0, failed: 0 };
  let firstFailure: string | null = null;
  for (let index = 0; index < cases; index++) {
    const target = random.oneOf(targets);
    const other = random.oneOf(targets);
    const outcome = outcomeOf(target, tamperedWith(target.payload, other.payload, random));
    if (outcome === "decoded" || outcome === "refused") counts[outcome]++;
    else {
      counts.failed++;
      firstFailure ??= `case ${index} of seed ${seed}, ${target.name}: ${outcome.message}`;
    }
  }
  return { cases, ...counts, firstFailure };
}

interface Target {
  readonly name: string;
  readonly payload: Uint8Array;
  /** The numbers of a payload. Throws if it is refused, or wrote where it must not. */
  decode(payload: Uint8Array): Float32Array;
}

function targetsFor(seed: number): readonly Target[] {
  return measuredCodecs.flatMap((codec) => shapes.map((shape) => payloadTarget(codec, shape, seed)));
}

function payloadTarget(codec: MeasuredCodec, shape: RowsShape, seed: number): Target {
  const length = shape.rows * shape.columns;
  const guarded = new Float32Array(length + 2 * margin).fill(untouched);
  const out = guarded.subarray(margin, margin + length);
  return {
    name: `${codec.name} ${shape.rows} × ${shape.columns}`,
    payload: codec.encode(numbers(length, seed), shape, seed),
    decode(payload) {
      codec.decode(payload, shape, out);
      for (let i = 0; i < margin; i++)
        if (guarded[i] !== untouched || guarded[length + margin + i] !== untouched)
          throw new Error("wrote outside of its numbers");
      return out;
    },
  };
}

function outcomeOf(target: Target, payload: Uint8Array): "decoded" | "refused" | Error {
  try {
    for (const value of target.decode(payload)) if (!Number.isFinite(value)) return new Error(`decoded a ${value}`);
    return "decoded";
  } catch (error) {
    if (error instanceof MalformedPayloadError) return "refused";
    return error instanceof Error ? error : new Error(String(error));
  }
}

function tamperedWith(payload: Uint8Array, other: Uint8Array, random: Random): Uint8Array {
  switch (random.below(6)) {
    case 0:
      return payload.slice(0, random.below(payload.length));
    case 1:
      return Uint8Array.of(...payload.subarray(0, 64), ...random.bytes(random.below(payload.length)));
    case 2:
      return random.bytes(payload.length);
    case 3:
      // With a header that says what is expected, random bytes come further.
      return withStart(random.bytes(payload.length), payload.subarray(0, 8));
    case 4:
      return withStart(payload.slice(), other.subarray(0, Math.min(payload.length, random.below(16))));
    default: {
      const changed = payload.slice();
      for (let change = random.below(8); change >= 0; change--)
        changed[random.below(changed.length)] = random.below(256);
      return changed;
    }
  }
}

function withStart(bytes: Uint8Array, start: Uint8Array): Uint8Array {
  bytes.set(start.subarray(0, bytes.length));
  return bytes;
}

function numbers(length: number, seed: number): Float32Array {
  const values = new Float32Array(length);
  fillNormal(values, streamKey(seed, "numbers"), 1e-3);
  return values;
}

/** Of a stream of its own, one after the other. */
class Random {
  readonly #key: Key;
  readonly #words: Words = { first: 0, second: 0 };
  #count = 0;

  constructor(key: Key) {
    this.#key = key;
  }

  word(): number {
    this.#count++;
    threefry(this.#words, this.#key, 0, this.#count);
    return this.#words.first >>> 0;
  }

  below(limit: number): number {
    return this.word() % limit;
  }

  oneOf<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)] as Item;
  }

  bytes(length: number): Uint8Array {
    const words = Uint32Array.from({ length: Math.ceil(length / 4) }, () => this.word());
    return new Uint8Array(words.buffer, 0, length);
  }
}
