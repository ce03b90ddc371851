/**
 * The reference back end: the contract of `../../kernels.ts` in plain TypeScript and float64, one file per family of
 * kernels. It is written to be read and to be right; tests compare every other back end with it. It imports nothing
 * but the contract and the checks that all back ends share.
 */
import { type Device, type Kernels, noWorkspace } from "../../kernels.ts";
import { checkTransfer, withShapeChecks } from "../argument-checks.ts";
import { attentionBackward, attentionForward } from "./attention.ts";
import { add, addColumns, addScaled, copy, fill, squaredNorm, swigluBackward, swigluForward } from "./elementwise.ts";
import { embeddingBackward, embeddingForward } from "./embedding.ts";
import { crossEntropy } from "./loss.ts";
import { matmul } from "./matmul.ts";
import { indices, ReferenceBuffer, reals, zeros } from "./memory.ts";
import { rmsNormBackward, rmsNormForward } from "./norm.ts";
import { adam, outerNesterov } from "./optimizer.ts";
import { rotary } from "./rotary.ts";

const kernels: Kernels = withShapeChecks({
  fill,
  copy,
  add,
  addScaled,
  addColumns,
  matmul,
  embeddingForward,
  embeddingBackward,
  rmsNormForward,
  rmsNormBackward,
  rotary,
  attentionForward,
  attentionBackward,
  swigluForward,
  swigluBackward,
  crossEntropy,
  squaredNorm,
  adam,
  outerNesterov,
});

/** A device that computes in float64 on the calling thread. Kernels take effect at once. */
export function createReferenceDevice(): Device {
  const live = new Set<ReferenceBuffer>();

  function keep<Buffer extends ReferenceBuffer>(buffer: Buffer): Buffer {
    live.add(buffer);
    return buffer;
  }

  return {
    description: { kind: "reference", name: "Reference (TypeScript, float64)", threads: 1 },
    kernels,
    largestOperand: Number.POSITIVE_INFINITY,
    workspace: noWorkspace,
    allocate: (length) => keep(new ReferenceBuffer("real", zeros(Float64Array, length))),
    allocateIndices: (length) => keep(new ReferenceBuffer("index", zeros(Int32Array, length))),
    free(buffer) {
      if (!(buffer instanceof ReferenceBuffer) || !live.delete(buffer))
        throw new Error("free: the buffer is not a live one of this device");
      buffer.release();
    },
    upload(target, values) {
      checkTransfer(target, "real", values.length);
      reals(target).set(values);
    },
    uploadIndices(target, values) {
      checkTransfer(target, "index", values.length);
      indices(target).set(values);
    },
    async download(source, target = new Float32Array(source.length)) {
      checkTransfer(source, "real", target.length);
      target.set(reals(source));
      return target;
    },
    downloadDouble: async (source) => reals(source).slice(),
    close() {
      for (const buffer of live) buffer.release();
      live.clear();
    },
  };
}
