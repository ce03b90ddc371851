import { elementwise, type Program } from "../program.ts";
import { type Reductions, reducingLanes } from "./reductions.ts";

/** One workgroup per row. out, x: [rows, width]; gain: [width]; inverse_rms: [rows]. */
export const rmsNormForward = ({ by, program, declarations }: Reductions) =>
  ({
    name: `rms norm forward, by ${by}`,
    ...program,
    lanes: reducingLanes,
    operands: { out: ["write", "f32"], inverse_rms: ["write", "f32"], x: ["read", "f32"], gain: ["read", "f32"] },
    parameters: { width: "u32", epsilon: "f32" },
    declarations,
    body: /* wgsl */ `
    let first = group * given.width;
    var squares = 0.0;
    for (var c = lane; c < given.width; c += ${reducingLanes}u) { squares += x[first + c] * x[first + c]; }
    let r = 1.0 / sqrt(sum_over_lanes(lane, squares) / f32(given.width) + given.epsilon);
    if (lane == 0u) { inverse_rms[group] = r; }
    for (var c = lane; c < given.width; c += ${reducingLanes}u) { out[first + c] = x[first + c] * r * gain[c]; }`,
  }) as const satisfies Program;

/** One workgroup per row: with n = x · r and dn = d_out · gain, dx += r · (dn − n · mean(dn · n)). */
export const rmsNormBackwardInput = ({ by, program, declarations }: Reductions) =>
  ({
    name: `rms norm backward, input, by ${by}`,
    ...program,
    lanes: reducingLanes,
    operands: {
      dx: ["write", "f32"],
      d_out: ["read", "f32"],
      x: ["read", "f32"],
      gain: ["read", "f32"],
      inverse_rms: ["read", "f32"],
    },
    parameters: { width: "u32" },
    declarations,
    body: /* wgsl */ `
    let first = group * given.width;
    let r = inverse_rms[group];
    var products = 0.0;
    for (var c = lane; c < given.width; c += ${reducingLanes}u) { products += d_out[first + c] * gain[c] * x[first + c] * r; }
    let projection = sum_over_lanes(lane, products) / f32(given.width);
    for (var c = lane; c < given.width; c += ${reducingLanes}u) {
      dx[first + c] += r * (d_out[first + c] * gain[c] - x[first + c] * r * projection);
    }`,
  }) as const satisfies Program;

/** Rows that one invocation of `rmsNormBackwardGain` sums up. */
export const rowsPerGainSum = 64;

/** sums[chunk, column] = Σ d_out · x · r over a chunk of rows: [ceil(rows / 64), width]. */
export const rmsNormBackwardGain = elementwise({
  name: "rms norm backward, gain",
  operands: { sums: ["write", "f32"], d_out: ["read", "f32"], x: ["read", "f32"], inverse_rms: ["read", "f32"] },
  parameters: { rows: "u32", width: "u32" },
  body: /* wgsl */ `
    let first = i / given.width * ${rowsPerGainSum}u;
    let end = min(first + ${rowsPerGainSum}u, given.rows);
    let column = i % given.width;
    var total = 0.0;
    for (var row = first; row < end; row++) {
      total += d_out[row * given.width + column] * x[row * given.width + column] * inverse_rms[row];
    }
    sums[i] = total;`,
});

/** out[column] += Σ sums[row, column]. sums: [rows, count]. */
export const addColumnSums = elementwise({
  name: "add column sums",
  operands: { out: ["write", "f32"], sums: ["read", "f32"] },
  parameters: { rows: "u32" },
  body: /* wgsl */ `
    var total = 0.0;
    for (var row = 0u; row < given.rows; row++) { total += sums[row * given.count + i]; }
    out[i] += total;`,
});
