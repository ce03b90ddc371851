/** What one replica's step moved, as far as it has come: it counts when all of its parts are here. */
import type { MovedMessage } from "../../protocol/exchange-messages.ts";
import { FailureError } from "../../protocol/failure.ts";

/** What a movement of one replica can be at most: nothing else is kept. */
export interface MovementLimits {
  /** For each part, the fewest and the most bytes of its payload. */
  readonly parts: readonly { readonly least: number; readonly most: number }[];
  /** The most tokens that it can have stepped on. */
  readonly tokens: number;
}

export class Movement {
  readonly tokens: number;
  readonly #parts: (Uint8Array | null)[];

  /** Of the first message that came of it. */
  constructor({ tokens, parts }: MovedMessage) {
    this.tokens = tokens;
    this.#parts = Array.from({ length: parts }, () => null);
  }

  /** Takes one more part in; a second one of the same is ignored. Throws `FailureError` (unexpected-message) for what does not belong to it. */
  take({ tokens, part, parts, payload }: MovedMessage): void {
    if (tokens !== this.tokens || parts !== this.#parts.length) throw unexpected("parts of two different movements");
    if (parts > 0) this.#parts[part] ??= payload;
  }

  /** Indices of the parts that have not come. */
  get missing(): readonly number[] {
    return this.#parts.flatMap((part, index) => (part === null ? [index] : []));
  }

  get isWhole(): boolean {
    return this.#parts.every((part) => part !== null);
  }

  /** All parts, in order; none when nothing was moved. */
  get payloads(): readonly Uint8Array[] {
    return this.#parts.flatMap((part) => part ?? []);
  }
}

/** Throws `FailureError` (unexpected-message) unless the message can be part of such a movement. */
export function checkMoved({ tokens, part, parts, payload }: MovedMessage, limits: MovementLimits): void {
  if (parts === 0) return;
  const limit = limits.parts[part];
  if (parts !== limits.parts.length || limit === undefined) throw unexpected(`a movement in ${parts} parts`);
  if (payload.length < limit.least || payload.length > limit.most)
    throw unexpected(`a part of a movement in ${payload.length} bytes`);
  if (tokens > limits.tokens) throw unexpected(`a movement on ${tokens} tokens`);
}

function unexpected(what: string): FailureError {
  return new FailureError("unexpected-message", what);
}
