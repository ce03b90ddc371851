/** Sums and maxima over the invocations of a workgroup, and the sum of squares of a whole vector. */
import type { Program } from "../program.ts";

/** Lanes of a workgroup that reduces: few, since every lane waits for the slowest at every step of the tree. */
export const reducingLanes = 64;

/** How the lanes of a workgroup come to one value: in a tree of workgroup memory, or by subgroups where the GPU has them. */
export interface Reductions {
  readonly by: "tree" | "subgroups";
  /** Spread into the program. */
  readonly program: Pick<Program, "enables">;
  /** `sum_over_lanes(lane, value)` and `maximum_over_lanes(lane, value)`, of all lanes, in every lane. */
  readonly declarations: string;
}

/** A balanced tree: the same bits on every GPU. */
export const byTree: Reductions = {
  by: "tree",
  program: {},
  declarations: declarations(
    (combine) => /* wgsl */ `
    over_lanes[lane] = value;
    for (var half = ${reducingLanes / 2}u; half > 0u; half >>= 1u) {
      workgroupBarrier();
      if (lane < half) { over_lanes[lane] = ${combine("over_lanes[lane]", "over_lanes[lane + half]")}; }
    }
    return workgroupUniformLoad(&over_lanes[0]);`,
  ),
};

/** Within each subgroup by its own instruction, and then over the few subgroups: two barriers instead of seven. */
export const bySubgroups: Reductions = {
  by: "subgroups",
  program: { enables: ["subgroups"] },
  declarations: declarations(
    (combine, reduce) => /* wgsl */ `
    let own = ${reduce}(value);
    if (subgroupElect()) { over_lanes[subgroup] = own; }
    workgroupBarrier();
    var all = over_lanes[0];
    for (var other = 1u; other < subgroups; other++) { all = ${combine("all", "over_lanes[other]")}; }
    // The next reduction writes where this one has been read.
    workgroupBarrier();
    return all;`,
  ),
};

function declarations(body: (combine: (a: string, b: string) => string, subgroupReduce: string) => string): string {
  return /* wgsl */ `
    var<workgroup> over_lanes: array<f32, ${reducingLanes}>;
    fn sum_over_lanes(lane: u32, value: f32) -> f32 { ${body((a, b) => `${a} + ${b}`, "subgroupAdd")} }
    fn maximum_over_lanes(lane: u32, value: f32) -> f32 { ${body((a, b) => `max(${a}, ${b})`, "subgroupMax")} }`;
}

/** Elements that one workgroup sums up. */
export const elementsPerSum = 64 * reducingLanes;

/**
 * sums[group] = Σ of `term` over the group's elements of x. Summed pairwise: 16 terms in each of four sums per lane, then a
 * tree. No partial sum has more than 24 terms behind another, so of n positive terms the error stays below
 * 24 · log₄₀₉₆(n) · 2⁻²⁴, a tenth of that in practice.
 */
function sumProgram({ by, program, declarations }: Reductions, name: string, term: string) {
  return {
    name: `${name}, by ${by}`,
    ...program,
    lanes: reducingLanes,
    operands: { sums: ["write", "f32"], x: ["read", "f32"] },
    parameters: { count: "u32" },
    declarations: /* wgsl */ `
      ${declarations}
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

export const sumOfSquares = (reductions: Reductions) => sumProgram(reductions, "sum of squares", "x[i] * x[i]");
export const sum = (reductions: Reductions) => sumProgram(reductions, "sum", "x[i]");
