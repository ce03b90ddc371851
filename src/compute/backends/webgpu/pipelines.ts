import { bindingAccess, type Program, shaderSource } from "./program.ts";

export interface Pipeline {
  /** Unique. */
  readonly key: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Compiles programs when they are first used, once for every way in which their operands share buffers. */
export function createPipelines(device: GPUDevice) {
  const compiled = new Map<string, Pipeline>();

  function compile(key: string, program: Program, bindings: readonly number[], apart: readonly number[]): Pipeline {
    const visibility = GPUShaderStage.COMPUTE;
    const layout = device.createBindGroupLayout({
      label: program.name,
      entries: [
        { binding: 0, visibility, buffer: { type: "uniform", hasDynamicOffset: true } },
        ...[...bindingAccess(program, bindings, apart)].map(([binding, access]) => ({
          binding,
          visibility,
          buffer: { type: access === "write" ? ("storage" as const) : ("read-only-storage" as const) },
        })),
      ],
    });
    const pipeline = device.createComputePipeline({
      label: program.name,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: {
        module: device.createShaderModule({ label: program.name, code: shaderSource(program, bindings, apart) }),
      },
    });
    return { key, pipeline, layout };
  }

  return {
    get(program: Program, bindings: readonly number[], apart: readonly number[]): Pipeline {
      const key = `${program.name} ${bindings.join()} ${apart.join()}`;
      const known = compiled.get(key) ?? compile(key, program, bindings, apart);
      compiled.set(key, known);
      return known;
    },
  };
}
