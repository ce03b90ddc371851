import type { Slice } from "../../kernels.ts";
import type { Gpu } from "./adapter.ts";
import { type Binding, bind } from "./bindings.ts";
import { bufferOf, elementBytes } from "./memory.ts";
import { type Pace, targetSubmitMs } from "./pace.ts";
import { createPipelines, type Pipeline } from "./pipelines.ts";
import { maximumGroupsPerAxis, type Program, uniformFields } from "./program.ts";

export interface Work {
  readonly groups: number;
  /** Floating-point operations of one group, roughly; see `operationsPerElement`. */
  readonly operationsPerGroup: number;
}

/**
 * Kernels that touch memory more than they compute are limited by its bandwidth: reading or writing an element takes GPUs,
 * and processors, about as long as this many operations of a matmul.
 */
export const operationsPerElement = 20;

/** Dispatches per submit: each has a slot for its uniforms. */
const slots = 256;
const slotBytes = 256;

/**
 * The one way to the device's queue. Dispatches are encoded into one submit until it holds about 20 ms of work, as its `Pace`
 * predicts; a dispatch that is longer than that is cut into ranges of groups, each a submit of its own. Nothing here waits
 * for the device but `read` and `finish`.
 */
export class WebGpuQueue {
  /** What a kernel may see of a buffer at once. */
  readonly bindingElements: number;
  readonly #gpu: Gpu;
  readonly #pace: Pace;
  readonly #pipelines;
  readonly #uniforms: GPUBuffer;
  /** By pipeline and buffers: the same few are bound for every microbatch. */
  readonly #bindGroups = new Map<string, GPUBindGroup>();
  readonly #uniformBytes = new ArrayBuffer(slots * slotBytes);
  readonly #uniformView = new DataView(this.#uniformBytes);
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #usedSlots = 0;
  /** What has been encoded, and how long it will take. */
  #work = new Map<string, number>();
  #predictedMs = 0;

  /** `bindingElements`: where that shall be less than the device allows. */
  constructor(gpu: Gpu, pace: Pace, bindingElements = gpu.device.limits.maxStorageBufferBindingSize / elementBytes) {
    this.#gpu = gpu;
    this.bindingElements = bindingElements;
    this.#pace = pace;
    this.#pipelines = createPipelines(gpu.device);
    this.#uniforms = gpu.device.createBuffer({
      size: slots * slotBytes,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
  }

  /** Runs a program over `work.groups` workgroups, behind everything run so far. */
  run<Operand extends string, Parameter extends string>(
    program: Program<Operand, Parameter>,
    operands: Readonly<Record<NoInfer<Operand>, Slice>>,
    parameters: Readonly<Record<NoInfer<Parameter>, number>>,
    { groups, operationsPerGroup }: Work,
  ): void {
    this.#gpu.check();
    // In the program's order: bindings and uniforms are laid out by it.
    const names = Object.keys(program.operands) as Operand[];
    const bound = bind(
      names.map((name) => operands[name]),
      { elements: this.bindingElements, device: this.#gpu.name },
    );
    const starts = Object.fromEntries(names.map((name, k) => [`${name}_start`, bound.operands[k]?.start ?? 0]));
    // The uniforms are binding 0.
    const bindings = bound.operands.map(({ binding }) => 1 + binding);
    const apart = bound.apart.map((binding) => 1 + binding);
    const pipeline = this.#pipelines.get(program, bindings, apart);
    const bindGroup = this.#bindGroup(pipeline, bound.distinct);

    const msPerGroup = this.#pace.predictMs(program.name, operationsPerGroup);
    const groupsPerSubmit = Math.max(1, Math.floor(targetSubmitMs / msPerGroup));
    for (let first = 0; first < groups; first += groupsPerSubmit) {
      const end = Math.min(groups, first + groupsPerSubmit);
      const ms = (end - first) * msPerGroup;
      if (this.#usedSlots === slots || this.#predictedMs + ms > targetSubmitMs) this.submit();
      const slot = this.#usedSlots++;
      this.#writeUniforms(slot, program, { ...starts, ...parameters, group_first: first, group_end: end });
      const pass = this.#openPass();
      pass.setPipeline(pipeline.pipeline);
      pass.setBindGroup(0, bindGroup, [slot * slotBytes]);
      pass.dispatchWorkgroups(
        Math.min(end - first, maximumGroupsPerAxis),
        Math.ceil((end - first) / maximumGroupsPerAxis),
      );
      this.#predictedMs += ms;
      const operations = (end - first) * operationsPerGroup;
      this.#work.set(program.name, (this.#work.get(program.name) ?? 0) + operations);
    }
  }

  /** Hands what has been encoded to the device. */
  submit(): void {
    if (this.#encoder === null) return;
    this.#pass?.end();
    this.#gpu.device.queue.writeBuffer(this.#uniforms, 0, this.#uniformBytes, 0, this.#usedSlots * slotBytes);
    this.#gpu.device.queue.submit([this.#encoder.finish()]);
    const ended = this.#pace.submitted(this.#work);
    // Rejects when the device is lost, which `Gpu` reports.
    this.#gpu.device.queue.onSubmittedWorkDone().then(ended, () => undefined);
    this.#encoder = null;
    this.#pass = null;
    this.#usedSlots = 0;
    this.#work = new Map();
    this.#predictedMs = 0;
  }

  /** To be called before a buffer is freed: what has been encoded may use it. */
  release(): void {
    this.submit();
    this.#bindGroups.clear();
  }

  write({ buffer, offset }: Slice, values: Float32Array | Int32Array): void {
    this.#gpu.check();
    const { gpuBuffer } = bufferOf({ buffer, offset, length: values.length });
    if (values.length === 0) return;
    this.submit();
    // Dawn does not take shared memory.
    const own = values.buffer instanceof ArrayBuffer ? values : values.slice();
    this.#gpu.device.queue.writeBuffer(
      gpuBuffer,
      offset * elementBytes,
      own.buffer as ArrayBuffer,
      own.byteOffset,
      own.byteLength,
    );
  }

  /** The contents of a slice of reals, after everything run so far. */
  async read(source: Slice): Promise<Float32Array> {
    this.#gpu.check();
    const { gpuBuffer } = bufferOf(source);
    const size = source.length * elementBytes;
    if (size === 0) return new Float32Array(0);
    const { device } = this.#gpu;
    const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    this.#endPass().copyBufferToBuffer(gpuBuffer, source.offset * elementBytes, staging, 0, size);
    this.submit();
    this.#pace.waits();
    try {
      await staging.mapAsync(GPUMapMode.READ);
      this.#gpu.check();
      return new Float32Array(staging.getMappedRange()).slice();
    } catch (error) {
      // Mapping fails when the device is lost; its own report of that, the one that counts, may come a moment later.
      await device.queue.onSubmittedWorkDone();
      this.#gpu.check();
      throw error;
    } finally {
      staging.destroy();
    }
  }

  async finish(): Promise<void> {
    this.submit();
    this.#pace.waits();
    await this.#gpu.device.queue.onSubmittedWorkDone();
  }

  #openPass(): GPUComputePassEncoder {
    this.#encoder ??= this.#gpu.device.createCommandEncoder();
    this.#pass ??= this.#encoder.beginComputePass();
    return this.#pass;
  }

  #endPass(): GPUCommandEncoder {
    this.#encoder ??= this.#gpu.device.createCommandEncoder();
    this.#pass?.end();
    this.#pass = null;
    return this.#encoder;
  }

  #bindGroup({ key, layout }: Pipeline, bindings: readonly Binding[]): GPUBindGroup {
    const groupKey = `${key} ${bindings.map(({ buffer, first, length }) => `${buffer.id}:${first}+${length}`).join()}`;
    const known = this.#bindGroups.get(groupKey);
    if (known !== undefined) return known;
    const bindGroup = this.#gpu.device.createBindGroup({
      layout,
      entries: [
        { binding: 0, resource: { buffer: this.#uniforms, size: slotBytes } },
        ...bindings.map(({ buffer: { gpuBuffer }, first, length }, index) => ({
          binding: index + 1,
          resource: { buffer: gpuBuffer, offset: first * elementBytes, size: Math.max(1, length) * elementBytes },
        })),
      ],
    });
    this.#bindGroups.set(groupKey, bindGroup);
    return bindGroup;
  }

  #writeUniforms(slot: number, program: Program, values: Readonly<Record<string, number>>): void {
    Object.entries(uniformFields(program)).forEach(([name, type], index) => {
      const value = values[name];
      if (value === undefined) throw new Error(`${program.name}: no value for ${name}`);
      const at = slot * slotBytes + index * 4;
      if (type === "u32") this.#uniformView.setUint32(at, value, true);
      else this.#uniformView.setFloat32(at, value, true);
    });
  }
}
