/** Sums and maxima over the invocations of a workgroup, and the sum of squares of a whole vector. */
import type { Program } from "../program.ts";

/** Lanes of a workgroup that reduces: few, since every lane waits for the slowest at every step of the tree. */
export const reducingLanes = 64;

/** `name(lane, value)`: `combine` of the values of all lanes, in every lane. A balanced tree: the same bits every time. */
function overLanes(name: string, combine: (a: string, b: string) => string): string {
  return /* wgsl */ `
    fn ${name}(lane: u32, value: f32) -> f32 {
      over_lanes[lane] = value;
      for (var half = ${reducingLanes / 2}u; half > 0u; half >>= 1u) {
        workgroupBarrier();
        if (lane < half) { over_lanes[lane] = ${combine("over_lanes[lane]", "over_lanes[lane + half]")}; }
      }
      return workgroupUniformLoad(&over_lanes[0]);
    }`;
}

export const reductions = /* wgsl */ `
  var<workgroup> over_lanes: array<f32, ${reducingLanes}>;
  ${overLanes("sum_over_lanes", (a, b) => `${a} + ${b}`)}
  ${overLanes("maximum_over_lanes", (a, b) => `max(${a}, ${b})`)}`;

/** Elements that one workgroup sums up. */
export const elementsPerSum = 64 * reducingLanes;

/**
 * sums[group] = Σ of `term` over the group's elements of x. Summed pairwise: 16 terms in each of four sums per lane, then a
 * tree. No partial sum has more than 24 terms behind another, so of n positive terms the error stays below
 * 24 · log₄₀₉₆(n) · 2⁻²⁴, a tenth of that in practice.
 */
function sumProgram(name: string, term: string) {
  return {
    name,
    lanes: reducingLanes,
    operands: { sums: ["write", "f32"], x: ["read", "f32"] },
    parameters: { count: "u32" },
    declarations: /* wgsl */ `
      ${reductions}
      fn term(i: u32) -> f32 {
        if (i >= given.count) { return 0.0; }
        return ${term};
      }`,
    body: /* wgsl */ `
      var lane_sums = vec4f();
      for (var part = 0u; part < 64u; part += 4u) {
        let i = group * ${elementsPerSum}u + part * ${reducingLanes}u + lane;
        lane_sums += vec4f(
          term(i), term(i + ${reducingLanes}u), term(i + ${2 * reducingLanes}u), term(i + ${3 * reducingLanes}u));
      }
      let total = sum_over_lanes(lane, (lane_sums.x + lane_sums.y) + (lane_sums.z + lane_sums.w));
      if (lane == 0u) { sums[group] = total; }`,
  } as const satisfies Program;
}

export const sumOfSquares = sumProgram("sum of squares", "x[i] * x[i]");
export const sum = sumProgram("sum", "x[i]");
