/** Sums and maxima over the invocations of a workgroup, and the sum of squares of a whole vector. */
import { lanes, type Program } from "../program.ts";

/** `name(lane, value)`: `combine` of the values of all lanes, in every lane. A balanced tree: the same bits every time. */
function overLanes(name: string, combine: (a: string, b: string) => string): string {
  return /* wgsl */ `
    fn ${name}(lane: u32, value: f32) -> f32 {
      over_lanes[lane] = value;
      for (var half = ${lanes / 2}u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lane < half) { over_lanes[lane] = ${combine("over_lanes[lane]", "over_lanes[lane + half]")}; }
      }
      return workgroupUniformLoad(&over_lanes[0]);
    }`;
}

export const reductions = /* wgsl */ `
  var<workgroup> over_lanes: array<f32, ${lanes}>;
  ${overLanes("sum_over_lanes", (a, b) => `${a} + ${b}`)}
  ${overLanes("maximum_over_lanes", (a, b) => `max(${a}, ${b})`)}`;

/** Elements that one workgroup sums up. */
export const elementsPerSum = 16 * lanes;

/**
 * sums[group] = Σ of `term` over the group's elements of x. Summed pairwise: no partial sum has more than 24 terms
 * behind another, so of n positive terms the error stays below 24 · log₄₀₉₆(n) · 2⁻²⁴, a tenth of that in practice.
 */
function sumProgram(name: string, term: string) {
  return {
    name,
    operands: { sums: ["write", "f32"], x: ["read", "f32"] },
    parameters: { count: "u32" },
    declarations: reductions,
    body: /* wgsl */ `
      var sum = 0.0;
      for (var part = 0u; part < 16u; part++) {
        let i = group * ${elementsPerSum}u + part * ${lanes}u + lane;
        if (i < given.count) { sum += ${term}; }
      }
      let total = sum_over_lanes(lane, sum);
      if (lane == 0u) { sums[group] = total; }`,
  } as const satisfies Program;
}

export const sumOfSquares = sumProgram("sum of squares", "x[i] * x[i]");
export const sum = sumProgram("sum", "x[i]");
