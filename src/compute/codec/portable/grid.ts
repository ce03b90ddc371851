/** The codec in TypeScript: clear rather than fast, and what the native one is tested against. */
import { fromBrainFloat, nearestBrainFloat, randomBrainFloat } from "../brain-float.ts";
import { codeBytes, type Grid, type GridKernels, type Quantiser, scaleBytes } from "../grid.ts";
import { levelTables } from "../levels.ts";
import { elementNoise, rowKey } from "../noise.ts";
import {
  quantiseToLevels,
  quantiseUniform,
  type RowScale,
  type RowScratch,
  readScale,
  rowScratch,
  withoutDither,
} from "./quantiser.ts";
import { blockFactor, blocksOf, copyWithSigns, hadamard, scaleWithSigns } from "./rotation.ts";
import { decodeSparse, encodeSparse } from "./sparse.ts";

const infinityBits = 0x7f80;

export const portableKernels: GridKernels = {
  encodeGrid(body, values, grid, quantiser) {
    const scratch = rowScratch(Math.min(grid.columns, values.length));
    const scales = scalesOf(body);
    for (const row of rowsOf(values.length, grid, quantiser)) {
      copyWithSigns(scratch.values, values, row.from, row.count, row.key);
      for (const { from, length } of blocksOf(row.count)) {
        hadamard(scratch.values, from, length);
        const factor = blockFactor(length);
        for (let i = from; i < from + length; i++) scratch.values[i] = (scratch.values[i] as number) * factor;
      }
      const scale = quantise(scratch, row.count, quantiser, grid.isFresh ? row.key : null);
      if (scale === "non-finite") return false;
      scales.setUint16(row.index * scaleBytes, scale, true);
      if (scale === 0) scratch.codes.fill(0, 0, row.count);
      pack(body.subarray(row.codesFrom), scratch.codes, row.count, quantiser.bits);
    }
    return true;
  },

  decodeGrid(values, body, grid, quantiser) {
    const scales = scalesOf(body);
    const numbers = numbersOf(quantiser);
    for (const row of rowsOf(values.length, grid, quantiser)) {
      const scale = readScale(scales.getUint16(row.index * scaleBytes, true));
      if (scale === null) return false;
      if (scale === 0) {
        values.fill(0, row.from, row.from + row.count);
        continue;
      }
      const numbersOfRow = values.subarray(row.from, row.from + row.count);
      unpack(numbersOfRow, body.subarray(row.codesFrom), quantiser.bits, numbers);
      if (grid.isFresh && quantiser.kind === "uniform") withoutDither(numbersOfRow, row.key);
      for (const { from, length } of blocksOf(row.count)) {
        hadamard(values, row.from + from, length);
        const factor = Math.fround(scale * blockFactor(length));
        scaleWithSigns(values, row.from + from, length, { key: row.key, column: from, factor });
      }
    }
    return true;
  },

  encodeBrainFloats(body, values, { columns, seed, isFresh }) {
    const view = scalesOf(body);
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    let key = 0;
    for (let i = 0; i < values.length; i++) {
      if (i % columns === 0) key = rowKey(seed, i / columns);
      const value = bits[i] as number;
      if ((value & 0x7fffffff) >= infinityBits << 16) return false;
      const rounded = isFresh
        ? randomBrainFloat(value, elementNoise(key, i % columns) >>> 16)
        : nearestBrainFloat(value);
      view.setUint16(2 * i, rounded, true);
    }
    return true;
  },

  decodeBrainFloats(values, body) {
    const view = scalesOf(body);
    let areAllFinite = true;
    for (let i = 0; i < values.length; i++) {
      const bits = view.getUint16(2 * i, true);
      areAllFinite &&= (bits & 0x7fff) < infinityBits;
      values[i] = fromBrainFloat(bits);
    }
    return areAllFinite;
  },

  encodeSparse,
  decodeSparse,

  add(sums, others) {
    for (let i = 0; i < sums.length; i++) sums[i] = (sums[i] as number) + (others[i] as number);
  },

  subtract(differences, others) {
    for (let i = 0; i < differences.length; i++) differences[i] = (differences[i] as number) - (others[i] as number);
  },
};

interface Row {
  readonly index: number;
  /** Its first number, and how many it has. */
  readonly from: number;
  readonly count: number;
  readonly codesFrom: number;
  readonly key: number;
}

function* rowsOf(length: number, { columns, seed, isFresh }: Grid, { bits }: Quantiser): Generator<Row> {
  const rows = Math.ceil(length / columns);
  for (let index = 0; index < rows; index++) {
    const from = index * columns;
    yield {
      index,
      from,
      count: Math.min(columns, length - from),
      codesFrom: rows * scaleBytes + index * codeBytes(columns, bits),
      key: rowKey(seed, isFresh ? index : 0),
    };
  }
}

function quantise(scratch: RowScratch, count: number, { kind, bits }: Quantiser, key: number | null): RowScale {
  if (kind === "levels") return quantiseToLevels(scratch, count, levelTables[bits]);
  return quantiseUniform(scratch, count, { codeBits: bits, key });
}

/** What each code stands for, before its row's scale and what it was shifted by. */
function numbersOf({ kind, bits }: Quantiser): Float32Array {
  if (kind === "levels") return levelTables[bits].levels;
  return Float32Array.from({ length: 2 ** bits }, (_, code) => code - 2 ** (bits - 1));
}

function pack(bytes: Uint8Array, codes: Uint8Array, count: number, bits: number): void {
  const perByte = 8 / bits;
  for (let byte = 0; byte * perByte < count; byte++) {
    let packed = 0;
    const last = Math.min(perByte, count - byte * perByte);
    for (let i = 0; i < last; i++) packed |= (codes[byte * perByte + i] as number) << (i * bits);
    bytes[byte] = packed;
  }
}

function unpack(values: Float32Array, bytes: Uint8Array, bits: number, numbers: Float32Array): void {
  const perByte = 8 / bits;
  const mask = 2 ** bits - 1;
  for (let i = 0; i < values.length; i++) {
    const code = ((bytes[Math.floor(i / perByte)] as number) >>> ((i % perByte) * bits)) & mask;
    values[i] = numbers[code] as number;
  }
}

function scalesOf(body: Uint8Array): DataView {
  return new DataView(body.buffer, body.byteOffset, body.byteLength);
}
