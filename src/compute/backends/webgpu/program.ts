/**
 * Programs: what the shaders in `shaders/` are written as. A program reads and writes operands as if each slice were an
 * array of its own, `out[i] = a[i]`. WebGPU knows no such thing: a binding starts at a multiple of 256 bytes, and no two
 * bindings of a dispatch may overlap when one of them is written. So every operand is bound as its whole buffer, operands
 * of one buffer share one binding, and indexing adds where the slice starts.
 */

/** Invocations per workgroup: what every WebGPU adapter allows. */
export const lanes = 256;
/** Workgroups along one axis of a dispatch: what every WebGPU adapter allows. */
export const maximumGroupsPerAxis = 65_535;

type Access = "read" | "write";
/** `bits`: copied without looking at them. */
type Element = "f32" | "i32" | "bits";
type Numbers = Readonly<Record<string, "u32" | "f32">>;

export interface Program<Operand extends string = string, Parameter extends string = string> {
  /** Unique; programs of one name are the same. */
  readonly name: string;
  /** What it needs of WGSL beyond the core; its device has it. With "subgroups", `subgroup` and `subgroups` say which of how many. */
  readonly enables?: readonly ("f16" | "subgroups" | "chromium_experimental_subgroup_matrix")[];
  /** Invocations per workgroup, where 256 are too many for what each of them keeps. */
  readonly lanes?: number;
  /** Those that lie in buffers of their own: at most eight. */
  readonly operands: Readonly<Record<Operand, readonly [Access, Element]>>;
  /** Read as `given.name`. */
  readonly parameters: Readonly<Record<Parameter, "u32" | "f32">>;
  /** Module-scope declarations. May index operands. */
  readonly declarations?: string;
  /**
   * Statements of one workgroup. In scope: `group`, its flat index; `lane`, the invocation in it, from 0. Groups run in
   * any order, and a large count of them in several submits.
   */
  readonly body: string;
}

/** A program with one invocation per element: `i` is in scope, below `given.count`. */
export function elementwise<Operand extends string, Parameter extends string = never>(program: {
  readonly name: string;
  readonly operands: Program<Operand>["operands"];
  readonly parameters?: Readonly<Record<Parameter, "u32" | "f32">>;
  readonly declarations?: string;
  readonly body: string;
}): Program<Operand, Parameter | "count"> {
  return {
    ...program,
    // The spread cannot be typed with a generic key.
    parameters: { count: "u32", ...program.parameters } as Record<Parameter | "count", "u32" | "f32">,
    body: /* wgsl */ `
      let i = group * ${lanes}u + lane;
      if (i >= given.count) { return; }
      ${program.body}`,
  };
}

/** The words of the uniform struct, in order: the groups to run, where operands start, and the program's parameters. */
export function uniformFields({ operands, parameters }: Program): Numbers {
  const starts = Object.keys(operands).map((operand) => [`${operand}_start`, "u32"] as const);
  return { group_first: "u32", group_end: "u32", ...Object.fromEntries(starts), ...parameters };
}

/**
 * The WGSL of a program. `bindings[k]` is the binding of the k-th operand: 1, 2, …, and equal for operands that share a
 * buffer.
 */
export function shaderSource(program: Program, bindings: readonly number[], apart: readonly number[]): string {
  const operands = Object.entries(program.operands);
  const fields = Object.entries(uniformFields(program)).map(([name, type]) => `${name}: ${type},`);
  const memories = [...bindingAccess(program, bindings, apart)].map(([binding, access]) => {
    const [, [, element]] = operands[bindings.indexOf(binding)] as (typeof operands)[number];
    const mode = access === "write" ? "read_write" : "read";
    return `@group(0) @binding(${binding}) var<storage, ${mode}> memory${binding}: array<${wgslType(element)}>;`;
  });
  const place = (code: string) =>
    operands.reduce(
      (text, [operand], index) =>
        text.replaceAll(new RegExp(`\\b${operand}\\[`, "g"), `memory${bindings[index]}[given.${operand}_start + `),
      code,
    );
  const usesSubgroups = program.enables?.includes("subgroups") ?? false;
  return /* wgsl */ `
    ${(program.enables ?? []).map((feature) => `enable ${feature};`).join("\n")}
    ${usesSubgroups ? "var<private> subgroup: u32; var<private> subgroups: u32;" : ""}
    struct Given { ${fields.join(" ")} }
    @group(0) @binding(0) var<uniform> given: Given;
    ${memories.join("\n")}
    ${place(program.declarations ?? "")}
    @compute @workgroup_size(${program.lanes ?? lanes})
    fn main(
      @builtin(workgroup_id) group_id: vec3u,
      @builtin(local_invocation_index) lane: u32,
      ${usesSubgroups ? "@builtin(subgroup_id) subgroup_id: u32, @builtin(num_subgroups) num_subgroups: u32," : ""}
    ) {
      ${usesSubgroups ? "subgroup = subgroup_id; subgroups = num_subgroups;" : ""}
      let group = given.group_first + group_id.y * ${maximumGroupsPerAxis}u + group_id.x;
      if (group >= given.group_end) { return; }
      ${place(program.body)}
    }`;
}

/**
 * How each binding is used: written when any of its operands is. So is any other part of a written buffer, since WebGPU does
 * not let a kernel bind one part of a buffer for reading and another for writing; `apart`: bindings of buffers with several.
 */
export function bindingAccess(
  program: Program,
  bindings: readonly number[],
  apart: readonly number[],
): ReadonlyMap<number, Access> {
  const accesses = new Map<number, Access>();
  Object.values(program.operands).forEach(([access], index) => {
    const binding = bindings[index] ?? 0;
    if (accesses.get(binding) !== "write") accesses.set(binding, apart.includes(binding) ? "write" : access);
  });
  return accesses;
}

function wgslType(element: Element): string {
  return element === "bits" ? "u32" : element;
}
