/**
 * The compute worker: a child process around one engine, forked by the daemon with `serialization: "advanced"`. It
 * executes requests in order, one at a time, and ends when its parent does.
 */
import { flushCompileCache } from "node:module";
import { expectLargeBuffers } from "../protocol/large-buffers.ts";
import { MalformedPayloadError } from "./codec/malformed.ts";
import { openDevice } from "./device.ts";
import { createEngine } from "./engine.ts";
import { type DeviceKind, DeviceLostError, DeviceMemoryError, DeviceUnavailableError } from "./kernels.ts";
import { listDevices } from "./list-devices.ts";
import { NonFiniteError } from "./non-finite.ts";
import type { ComputeFailure, ComputeReply, ComputeRequest } from "./worker-protocol.ts";

expectLargeBuffers();
const calls = {
  ...createEngine(openDevice),
  devices: ({ backend }: { readonly backend: DeviceKind }) => listDevices(backend),
};
let queue = Promise.resolve();

process.on("message", (request: ComputeRequest) => {
  queue = queue.then(async () => {
    reply(await execute(request));
    // Workers are ended by a signal, which would leave no time for it.
    if (request.method === "open") flushCompileCache();
  });
});
process.on("disconnect", () => process.exit(0));

async function execute(request: ComputeRequest): Promise<ComputeReply> {
  try {
    const call = calls[request.method] as (...args: unknown[]) => Promise<unknown>;
    return { id: request.id, ok: true, result: await call(...request.arguments) };
  } catch (error) {
    return { id: request.id, ok: false, error: failureOf(error) };
  }
}

function reply(message: ComputeReply): void {
  // Without a parent there is nobody to answer, and `disconnect` ends this process.
  if (process.connected) process.send?.(message);
}

function failureOf(error: unknown): ComputeFailure {
  if (error instanceof NonFiniteError) return { kind: "non-finite", tensor: error.tensor, message: error.message };
  if (error instanceof MalformedPayloadError) return { kind: "malformed", message: error.message };
  if (error instanceof DeviceMemoryError)
    return { kind: "memory", requestedBytes: error.requestedBytes, message: error.message };
  if (error instanceof DeviceLostError) return { kind: "device-lost", message: error.message };
  if (error instanceof DeviceUnavailableError) return { kind: "unavailable", message: error.message };
  return { kind: "bug", message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}
