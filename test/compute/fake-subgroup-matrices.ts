/**
 * Subgroup matrices in plain WGSL, for drivers that have none: a factor is where it lies in workgroup memory, and every lane of
 * a subgroup keeps its share of the product. Shows that programs cut and place matrices rightly, and nothing about real ones.
 */
import type { Gpu } from "../../src/compute/backends/webgpu/adapter.ts";

const side = 16;

/** Makes `gpu`, whose subgroups are all of `subgroupSize` lanes, one with such matrices. */
export function withFakeSubgroupMatrices(gpu: Gpu, subgroupSize: number): Gpu {
  const { device } = gpu;
  const createShaderModule = device.createShaderModule.bind(device);
  device.createShaderModule = ({ code, ...others }) =>
    createShaderModule({ ...others, code: writtenOut(code, subgroupSize) });
  return { ...gpu, matrices: { rows: side, columns: side, depth: side, subgroupSize } };
}

function writtenOut(code: string, subgroupSize: number): string {
  const enabled = "enable chromium_experimental_subgroup_matrix;";
  if (!code.includes(enabled)) return code;
  const share = side ** 2 / subgroupSize;
  return /* wgsl */ `${code
    .replace(enabled, "")
    .replaceAll("subgroup_matrix_result<f32, 16, 16>", `array<f32, ${share}>`)
    .replaceAll("subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&a_tile, ", "vec2u(")
    .replaceAll("subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, row_major>(&b_tile, ", "vec2u(")
    .replaceAll(
      /sums_(\w+) = subgroupMatrixMultiplyAccumulate\((\w+), (\w+), \w+\)/g,
      "fake_multiply(lane, $2, $3, &sums_$1)",
    )
    .replaceAll(/subgroupMatrixStore<row_major>\(&parts, (.*), (sums_\w+), /g, "fake_store(lane, $1, &$2, ")}

    /// Zero, which compilers do not know: unrolled, these loops take them minutes.
    fn fake_zero() -> u32 { return select(1u, 0u, given.k > 0u); }
    /// The element of each matrix that this lane keeps in this place.
    fn fake_element(lane: u32, own: u32) -> vec2u {
      let i = own * ${subgroupSize}u + lane % ${subgroupSize}u;
      return vec2u(i / ${side}u, i % ${side}u);
    }
    fn fake_multiply(lane: u32, left: vec2u, right: vec2u, sums: ptr<function, array<f32, ${share}>>) {
      for (var own = 0u; own < ${share}u + fake_zero(); own++) {
        let place = fake_element(lane, own);
        for (var depth = 0u; depth < ${side}u + fake_zero(); depth++) {
          (*sums)[own] += f32(a_tile[left.x + place.x * left.y + depth]) * f32(b_tile[right.x + depth * right.y + place.y]);
        }
      }
    }
    fn fake_store(lane: u32, first: u32, sums: ptr<function, array<f32, ${share}>>, stride: u32) {
      for (var own = 0u; own < ${share}u + fake_zero(); own++) {
        let place = fake_element(lane, own);
        parts[first + place.x * stride + place.y] = (*sums)[own];
      }
    }`;
}
