/**
 * Whether a database's write-ahead log was damaged after it had been written. SQLite takes a log as far as its checksums go, and
 * the rest for a commit that was torn by a power cut: right for the last commit, which nobody had been told of, but damage further
 * up would silently undo all that follows. The format: https://sqlite.org/fileformat2.html#walformat
 */
import { readFileSync } from "node:fs";

const headerBytes = 32;
const frameHeaderBytes = 24;
/** The lowest bit says in which byte order checksums are taken; all other numbers are big-endian. */
const magic = 0x377f0682;
const saltOffset = { header: 16, frame: 8 };
const saltBytes = 8;
const commitOffset = 4;

/**
 * True when a frame is damaged and a later commit was begun, which happens only once all before it is synced. Damage to the last
 * commit looks like a torn one. A log that is missing is whole: it has been moved into the database.
 */
export function isLogDamaged(databasePath: string): boolean {
  const log = readIfPresent(`${databasePath}-wal`);
  if (log.length <= headerBytes) return false;
  const header = readHeader(log);
  // Synced before anything follows it. Zeros behind it are room that was never written to.
  if (header === null) return log.subarray(headerBytes).some((byte) => byte !== 0);
  const { frames, isBigEndian } = header;
  let sum: Sum = header.sum;
  for (const [index, frame] of frames.entries()) {
    sum = checksum(frame.subarray(0, saltOffset.frame), sum, isBigEndian);
    sum = checksum(frame.subarray(frameHeaderBytes), sum, isBigEndian);
    if (header.isOurs(frame) && equals(sum, frame, 16)) continue;
    const rest = frames.slice(index).filter(header.isOurs);
    const end = rest.findIndex((one) => one.readUInt32BE(commitOffset) !== 0);
    return end !== -1 && end < rest.length - 1;
  }
  return false;
}

type Sum = readonly [number, number];

interface Header {
  readonly frames: readonly Buffer[];
  /** Frames of an earlier turn of the log have other salts. */
  readonly isOurs: (frame: Buffer) => boolean;
  readonly sum: Sum;
  readonly isBigEndian: boolean;
}

/** Null when it is damaged. */
function readHeader(log: Buffer): Header | null {
  const isBigEndian = log.readUInt32BE(0) === magic + 1;
  if (!isBigEndian && log.readUInt32BE(0) !== magic) return null;
  const sum = checksum(log.subarray(0, 24), [0, 0], isBigEndian);
  if (!equals(sum, log, 24)) return null;
  const frameBytes = frameHeaderBytes + log.readUInt32BE(8);
  const salts = log.subarray(saltOffset.header, saltOffset.header + saltBytes);
  return {
    frames: Array.from({ length: Math.floor((log.length - headerBytes) / frameBytes) }, (_, index) =>
      log.subarray(headerBytes + index * frameBytes, headerBytes + (index + 1) * frameBytes),
    ),
    isOurs: (frame) => frame.subarray(saltOffset.frame, saltOffset.frame + saltBytes).equals(salts),
    sum,
    isBigEndian,
  };
}

/** Over whole pairs of 32-bit words, cumulative. */
function checksum(bytes: Buffer, [first, second]: Sum, isBigEndian: boolean): Sum {
  const word = (offset: number) => (isBigEndian ? bytes.readUInt32BE(offset) : bytes.readUInt32LE(offset));
  let [a, b] = [first, second];
  for (let offset = 0; offset < bytes.length; offset += 8) {
    a = (a + word(offset) + b) >>> 0;
    b = (b + word(offset + 4) + a) >>> 0;
  }
  return [a, b];
}

function equals([first, second]: Sum, bytes: Buffer, offset: number): boolean {
  return bytes.readUInt32BE(offset) === first && bytes.readUInt32BE(offset + 4) === second;
}

function readIfPresent(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return Buffer.alloc(0);
    throw error;
  }
}
