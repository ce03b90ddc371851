/**
 * How programs keep the factors of matrix products in workgroup memory: as they are, or rounded to f16 and half as wide.
 * Products are summed in f32 in either.
 *
 * f16 ends at 65,504, and below 6e-5 GPUs lose digits or everything, while gradients come in any size. So a factor is
 * multiplied by a power of two that brings the largest element of its operand just below 2¹⁵ before it is rounded, and the
 * sum of products is divided by it: at any size, what gets lost is what lies 11 bits behind an element's first digit, or
 * below 2⁻²⁹ of the largest element.
 */
import type { Program } from "../program.ts";
import { type Reductions, reducingLanes } from "./reductions.ts";

/** The precisions that matrix products can be multiplied in here. */
export type FactorPrecision = "f32" | "f16";

export interface Factors<Name extends string> {
  readonly precision: FactorPrecision;
  /** Spread into the program, and into its operands. */
  readonly program: Pick<Program, "enables">;
  readonly operands: Readonly<Record<string, readonly ["read", "f32"]>>;
  readonly declarations: string;
  /** Statements: `<name>_factor` of each operand, by what it is multiplied. Nothing in f32. */
  readonly find: string;
  /** The type of four of them in workgroup memory. */
  readonly quad: "vec4f" | "vec4h";
  /** Numbers as they are multiplied, before they are rounded. */
  multiplied(name: Name, numbers: string): string;
  /** Four numbers as workgroup memory takes them. */
  rounded(name: Name, numbers: string): string;
  /** A product of factors, divided by what these were multiplied by. */
  product(value: string, ...names: readonly Name[]): string;
}

/** `names`: up to four operands; `lanes`: the program's, a power of two. In f16 it has one more operand, `largest`: [operand, part]. */
export function factors<Name extends string>(
  precision: FactorPrecision,
  names: readonly Name[],
  lanes = reducingLanes,
): Factors<Name> {
  if (precision === "f32")
    return {
      ...{ precision, program: {}, operands: {}, declarations: "", find: "", quad: "vec4f" },
      multiplied: (_, numbers) => numbers,
      rounded: (_, numbers) => numbers,
      product: (value) => value,
    };
  const fields = names.map((name, k) => [name, "xyzw".charAt(k), k * largestParts] as const);
  return {
    ...{ precision, program: { enables: ["f16"] }, operands: { largest: ["read", "f32"] }, quad: "vec4h" },
    declarations: /* wgsl */ `
      var<workgroup> lane_largest: array<vec4f, ${lanes}>;
      fn operand_factors(lane: u32) -> vec4f {
        var found = vec4f();
        for (var part = lane; part < ${largestParts}u; part += ${lanes}u) {
          ${fields.map(([, field, first]) => `found.${field} = max(found.${field}, largest[${first}u + part]);`).join("\n")}
        }
        lane_largest[lane] = found;
        for (var half = ${lanes / 2}u; half > 0u; half >>= 1u) {
          workgroupBarrier();
          if (lane < half) { lane_largest[lane] = max(lane_largest[lane], lane_largest[lane + half]); }
        }
        let all = workgroupUniformLoad(&lane_largest[0]);
        // Every element is below 2^exp. By more than 2⁶⁰ products could not be scaled back in f32.
        let powers = ldexp(vec4f(1.0), min(vec4i(15) - frexp(all).exp, vec4i(60)));
        // Where the largest element is no number, the product will be none either.
        return select(vec4f(1.0), powers, (all > vec4f()) & (all < vec4f(3.4e38)));
      }`,
    find: `let factors = operand_factors(lane);
      ${fields.map(([name, field]) => `let ${name}_factor = factors.${field};`).join("\n")}`,
    multiplied: (name, numbers) => `${name}_factor * ${numbers}`,
    rounded: (name, numbers) => `vec4h(${name}_factor * ${numbers})`,
    // One after the other: the factors' product may lie outside of f32.
    product: (value, ...by) => [value, ...by.map((name) => `(1.0 / ${name}_factor)`)].join(" * "),
  };
}

/** Workgroups of `largest`. */
export const largestParts = 128;

/** largest[group] = the largest |x[i]| of the group's share. */
export const largest = ({ by, program, declarations }: Reductions) =>
  ({
    name: `largest, by ${by}`,
    ...program,
    lanes: reducingLanes,
    operands: { largest: ["write", "f32"], x: ["read", "f32"] },
    parameters: { count: "u32" },
    declarations,
    body: /* wgsl */ `
    let stride = ${largestParts * reducingLanes}u;
    var found = vec4f();
    for (var i = group * ${reducingLanes}u + lane; i < given.count; i += 4u * stride) {
      // Behind the end, the last element is looked at once more.
      let places = min(i + stride * vec4u(0u, 1u, 2u, 3u), vec4u(given.count - 1u));
      found = max(found, abs(vec4f(x[places.x], x[places.y], x[places.z], x[places.w])));
    }
    let total = maximum_over_lanes(lane, max(max(found.x, found.y), max(found.z, found.w)));
    if (lane == 0u) { largest[group] = total; }`,
  }) as const satisfies Program;
