/**
 * What the codec rounded away of this replica's contributions, so that the next one carries it (Karimireddy 2019, alg. 1): then what is
 * sent adds up, over the epochs, to what was meant, but for the last residual.
 *
 * While a merge is under way the residual of before is kept beside it: should the merge come to nothing, the numbers that the new
 * residual is left over from come to nothing too.
 *
 * A residual that is older than the weights, because an attempt failed late or it was read from a file, does no more harm than none:
 * it is no longer than what one contribution was rounded by, which without error feedback would be lost in every epoch, and it goes
 * into the weights once.
 */
import type { VectorCodec } from "../../protocol/run-config.ts";
import { MalformedPayloadError } from "../codec/malformed.ts";
import { decodeVector, encodeVector, encodeWithFeedback } from "../codec/vector.ts";

/** In which a residual leaves the worker: a hundredth of what was rounded away matters to nobody, and is a quarter of the bytes. */
export const residualCodec: VectorCodec = { kind: "dense", bits: 8 };

/** The residual, and its copy while a merge is under way. */
const vectorsKept = 2;

/** Host memory per replica of so many parameters. */
export function errorFeedbackBytes(codec: VectorCodec, parameters: number): number {
  return codec.kind === "f32" ? 0 : vectorsKept * Float32Array.BYTES_PER_ELEMENT * parameters;
}

/** `unwanted`: there is a newer one, or nothing is rounded away. */
export type RestoredResidual = "taken" | "unwanted" | "damaged";

export class ErrorFeedback {
  readonly #codec: VectorCodec;
  readonly #length: number;
  /** Null while it is all zeros. */
  #residual: Float32Array | null = null;
  /** What there was before the merge that is under way. */
  #before: { readonly residual: Float32Array | null } | null = null;

  /** For vectors of `length` numbers. With `f32` nothing is rounded away, and nothing kept. */
  constructor(codec: VectorCodec, length: number) {
    this.#codec = codec;
    this.#length = length;
  }

  /** A contribution begins; an earlier one that was not brought to its end is given up. */
  begin(): void {
    if (this.#codec.kind === "f32") return;
    this.undo();
    this.#before = { residual: this.#residual };
    this.#residual = this.#residual?.slice() ?? new Float32Array(this.#length);
  }

  /** The payload of the contribution's values from element `from` on. */
  encode(from: number, values: Float32Array, seed: number): Uint8Array {
    if (this.#residual === null) return encodeVector(values, this.#codec, seed);
    const residual = this.#residual.subarray(from, from + values.length);
    return encodeWithFeedback(values, residual, this.#codec, seed).payload;
  }

  /** Adds to what the next contribution carries: `values`, times `factor`, from element `from` on. Only while a merge is under way. */
  carry(from: number, values: Float32Array, factor: number): void {
    const residual = this.#before && this.#residual;
    if (!residual) return;
    for (let i = 0; i < values.length; i++)
      residual[from + i] = (residual[from + i] as number) + (values[i] as number) * factor;
  }

  /** The contribution went into the weights. */
  keep(): void {
    this.#before = null;
  }

  /** The contribution came to nothing. */
  undo(): void {
    if (this.#before !== null) this.#residual = this.#before.residual;
    this.#before = null;
  }

  /** Null when there is nothing to carry on. */
  save(): Uint8Array | null {
    return this.#residual && encodeVector(this.#residual, residualCodec, 0);
  }

  /** Takes up what `save` gave. */
  restore(payload: Uint8Array): RestoredResidual {
    if (this.#codec.kind === "f32" || this.#residual !== null) return "unwanted";
    try {
      this.#residual = decodeVector(payload, this.#length);
      return "taken";
    } catch (error) {
      if (error instanceof MalformedPayloadError) return "damaged";
      throw error;
    }
  }
}
