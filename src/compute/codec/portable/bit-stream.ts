/** Numbers of few bits in a row, the lowest bit of each byte first. */

export class BitWriter {
  readonly #bytes: Uint8Array;
  #position: number;

  /** `bytes` is zero from its byte `from` on. */
  constructor(bytes: Uint8Array, from: number) {
    this.#bytes = bytes;
    this.#position = 8 * from;
  }

  write(value: number, count: number): void {
    for (let bit = 0; bit < count; bit++, this.#position++)
      if (((value >>> bit) & 1) === 1) {
        const byte = this.#position >>> 3;
        this.#bytes[byte] = (this.#bytes[byte] as number) | (1 << (this.#position & 7));
      }
  }

  /** So many set bits and one that is not. */
  writeUnary(value: number): void {
    for (let bit = 0; bit < value; bit++) this.write(1, 1);
    this.#position++;
  }

  /** The byte behind the last one that was written to. */
  get end(): number {
    return Math.ceil(this.#position / 8);
  }
}

/** Behind the last byte it reads zeros: `end` tells. */
export class BitReader {
  readonly #bytes: Uint8Array;
  #position: number;

  constructor(bytes: Uint8Array, from: number) {
    this.#bytes = bytes;
    this.#position = 8 * from;
  }

  read(count: number): number {
    let value = 0;
    for (let bit = 0; bit < count; bit++, this.#position++)
      value |= (((this.#bytes[this.#position >>> 3] ?? 0) >>> (this.#position & 7)) & 1) << bit;
    return value;
  }

  /** Set bits up to one that is not, or to `most`. */
  readUnary(most: number): number {
    let value = 0;
    while (value < most && this.read(1) === 1) value++;
    return value;
  }

  /** Whether nothing but zeros is left of the byte that was read last. */
  isPadded(): boolean {
    return (this.#position & 7) === 0 || (this.#bytes[this.#position >>> 3] ?? 0) >>> (this.#position & 7) === 0;
  }

  get end(): number {
    return Math.ceil(this.#position / 8);
  }
}
