/** What has come of a blob that is being fetched, part by part. What comes can be kept, so that a later fetch goes on behind it. */
import type { MinerId } from "../protocol/ids.ts";
import { maxPartBytes } from "./blob-serving.ts";
import type { ByteLimits } from "./wanted-blob.ts";

/** The beginning of a blob, where it outlives the fetch. */
export interface PartialBlob {
  /** What earlier fetches brought. */
  read(): Promise<Uint8Array>;
  /** What comes behind all that is kept. */
  append(bytes: Uint8Array): void;
  /** Some of it may be wrong: nothing is kept any more. */
  restart(): void;
}

interface Part {
  state: "missing" | "asked" | "here";
  /** Who sent it; null for what earlier fetches brought as well. */
  from: MinerId | null;
  askedAtMs: number;
}

export class BlobParts {
  readonly #limits: ByteLimits;
  readonly #partial: PartialBlob | undefined;
  /** Empty while nobody has said how long the blob is. */
  #bytes = Buffer.alloc(0);
  /** Of a blob whose length is not known, the first. */
  #parts: readonly Part[] = [];
  #isSizeKnown = false;
  /** As many of the first parts are kept. */
  #partsKept = 0;

  /** `begun`: what `partial` has. */
  constructor(limits: ByteLimits, partial: PartialBlob | undefined, begun: Uint8Array) {
    this.#limits = limits;
    this.#partial = partial;
    this.#forgetSize();
    this.#takeUp(begun);
  }

  get bytes(): Buffer<ArrayBuffer> {
    return this.#bytes;
  }

  get parts(): readonly Part[] {
    return this.#parts;
  }

  get isComplete(): boolean {
    return this.#parts.every(({ state }) => state === "here");
  }

  /** Whether its length is only known since somebody said it. */
  get hasOpenSize(): boolean {
    return this.#limits.least < this.#limits.most;
  }

  /** The last one may be shorter. Of a blob whose length is not known as much as comes. */
  lengthOf(index: number): number {
    const bytes = this.#isSizeKnown ? this.#bytes.length : this.#limits.most;
    return Math.min(maxPartBytes, bytes - index * maxPartBytes);
  }

  /** Who sends something says how long the whole is; the first is believed, if it can be so long. */
  suggestSize(bytes: number): void {
    if (!this.#isSizeKnown && bytes >= this.#limits.least && bytes <= this.#limits.most) this.#takeSize(bytes);
  }

  take(index: number, bytes: Uint8Array, from: MinerId): void {
    const part = this.#parts[index];
    if (part === undefined) throw new RangeError(`no part ${index}`);
    this.#bytes.set(bytes, index * maxPartBytes);
    part.state = "here";
    part.from = from;
    this.#keepBeginning();
  }

  /** What was asked for does not come. */
  forgetAsked(): void {
    for (const part of this.#parts) if (part.state === "asked") forget(part);
  }

  forgetFrom(holder: MinerId): void {
    for (const part of this.#parts) if (part.from === holder) forget(part);
    if (this.hasOpenSize && this.#parts.every(({ state }) => state !== "here")) this.#forgetSize();
    this.#keepBeginning();
  }

  forgetAll(): void {
    for (const part of this.#parts) forget(part);
    if (this.hasOpenSize) this.#forgetSize();
    this.#keepBeginning();
  }

  #takeSize(bytes: number): void {
    const [first] = this.#parts;
    this.#isSizeKnown = true;
    this.#bytes = Buffer.from(new ArrayBuffer(bytes)); // owns its memory, aligned: it may be seen as f32 values
    const parts = Array.from({ length: Math.ceil(bytes / maxPartBytes) }, missingPart);
    this.#parts = first === undefined ? parts : parts.with(0, first);
  }

  #forgetSize(): void {
    this.#isSizeKnown = false;
    this.#parts = [missingPart()];
    if (this.hasOpenSize) return;
    this.#parts = [];
    this.#takeSize(this.#limits.least);
  }

  #takeUp(begun: Uint8Array): void {
    if (this.#partial === undefined || !this.#isSizeKnown) return;
    for (const [index, part] of this.#parts.entries()) {
      const end = this.#lengthOfFirst(index + 1);
      if (end > begun.length) break;
      this.#bytes.set(begun.subarray(index * maxPartBytes, end), index * maxPartBytes);
      part.state = "here";
      this.#partsKept += 1;
    }
    if (begun.length === this.#lengthOfFirst(this.#partsKept)) return;
    this.#partial.restart(); // it ends within a part
    this.#partsKept = 0;
    this.#keepBeginning();
  }

  #keepBeginning(): void {
    if (this.#partial === undefined) return;
    const firstMissing = this.#parts.findIndex(({ state }) => state !== "here");
    const here = firstMissing === -1 ? this.#parts.length : firstMissing;
    if (here < this.#partsKept) {
      this.#partial.restart();
      this.#partsKept = 0;
    }
    if (here === this.#partsKept) return;
    this.#partial.append(this.#bytes.subarray(this.#lengthOfFirst(this.#partsKept), this.#lengthOfFirst(here)));
    this.#partsKept = here;
  }

  #lengthOfFirst(parts: number): number {
    return Math.min(this.#bytes.length, parts * maxPartBytes);
  }
}

function missingPart(): Part {
  return { state: "missing", from: null, askedAtMs: 0 };
}

function forget(part: Part): void {
  part.state = "missing";
  part.from = null;
}
