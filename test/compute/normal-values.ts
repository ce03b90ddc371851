/** Normal numbers for tests of codecs. */
import { fillNormal, streamKey } from "../../src/compute/random.ts";

/** The same for the same name. */
export function normalValues(length: number, name: string, deviation = 1): Float32Array {
  const values = new Float32Array(length);
  fillNormal(values, streamKey(20_261_127, name), deviation);
  return values;
}
