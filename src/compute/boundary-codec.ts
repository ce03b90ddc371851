/** Between a stage's device and the payloads that cross its boundaries (`codec/rows.ts`). */
import type { BoundaryHealth } from "../protocol/client-messages.ts";
import type { RowFormat } from "../protocol/run-config.ts";
import { decodeRows, type EncodeRowsOptions, encodeRows, type RowsShape } from "./codec/rows.ts";
import type { Device, Slice } from "./kernels.ts";
import { channelsBefore } from "./model/parts.ts";
import type { Stage, StagePass } from "./model/stage.ts";
import { NonFiniteError } from "./non-finite.ts";
import type { GradientFormat } from "./worker-protocol.ts";

/** Of a microbatch's rows, so many tell how much rounding takes from all of them. */
const sampledRows = 16;

/** Its calls are made one after the other: they share one array for what is on its way. */
export class BoundaryCodec {
  readonly #device: Device;
  readonly #stage: Stage;
  readonly #values: Float32Array;

  constructor(device: Device, stage: Stage) {
    const { model, spec, size } = stage;
    this.#device = device;
    this.#stage = stage;
    const channels = Math.max(channelsBefore(model, spec.fromLayer), channelsBefore(model, spec.toLayer));
    this.#values = new Float32Array(size.maximumTokens * channels);
  }

  /** Throws `MalformedPayloadError`. */
  uploadActivations(pass: StagePass, payload: Uint8Array): void {
    this.#upload(pass.input, payload, this.#shape(pass, this.#stage.spec.fromLayer));
  }

  /** Throws `MalformedPayloadError`. */
  uploadGradient(pass: StagePass, payload: Uint8Array): void {
    this.#upload(pass.dOutput, payload, this.#shape(pass, this.#stage.spec.toLayer));
  }

  /** `rms`: of the stream behind the stage's last block. Throws `NonFiniteError`. */
  async encodeActivations(
    pass: StagePass,
    format: RowFormat,
    rms: number,
  ): Promise<{ readonly activations: Uint8Array; readonly boundary: BoundaryHealth }> {
    const shape = this.#shape(pass, this.#stage.spec.toLayer);
    const values = await this.#download(pass.output);
    const activations = encodeNamed("activations", values, shape, { format, noise: null });
    return { activations, boundary: { rms, relativeError: roundingError(values, shape, format) } };
  }

  /** Throws `NonFiniteError`. */
  async encodeGradient(pass: StagePass, { format, noise }: GradientFormat): Promise<Uint8Array> {
    const values = await this.#download(pass.dInput);
    const shape = this.#shape(pass, this.#stage.spec.fromLayer);
    return encodeNamed("input gradient", values, shape, { format, noise });
  }

  #upload(target: Slice, payload: Uint8Array, shape: RowsShape): void {
    this.#device.upload(target, decodeRows(payload, shape, this.#values.subarray(0, target.length)));
  }

  #download(source: Slice): Promise<Float32Array> {
    return this.#device.download(source, this.#values.subarray(0, source.length));
  }

  #shape({ shape }: StagePass, layer: number): RowsShape {
    return { rows: shape.sequences * shape.queries, columns: channelsBefore(this.#stage.model, layer) };
  }
}

/** Throws `NonFiniteError` with the name of what is encoded. */
function encodeNamed(tensor: string, values: Float32Array, shape: RowsShape, options: EncodeRowsOptions): Uint8Array {
  try {
    return encodeRows(values, shape, options);
  } catch (error) {
    throw error instanceof NonFiniteError ? new NonFiniteError(tensor) : error;
  }
}

/** |decoded − values| / |values|, over some of the rows: each is rounded on its own. */
function roundingError(values: Float32Array, { rows, columns }: RowsShape, format: RowFormat): number {
  if (format === "f32") return 0;
  const count = Math.min(rows, sampledRows);
  const sample = new Float32Array(count * columns);
  for (let row = 0; row < count; row++) {
    const first = Math.floor((row * rows) / count) * columns;
    sample.set(values.subarray(first, first + columns), row * columns);
  }
  const shape = { rows: count, columns };
  const decoded = decodeRows(encodeRows(sample, shape, { format, noise: null }), shape);
  let [error, size] = [0, 0];
  for (const [index, value] of sample.entries()) {
    error += ((decoded[index] ?? 0) - value) ** 2;
    size += value ** 2;
  }
  return size === 0 ? 0 : Math.sqrt(error / size);
}
