/** How V8 is told that short-lived large buffers are our daily bread. */
import { setFlagsFromString } from "node:v8";

/**
 * Call once, where a process begins through which tensors pass. By default V8 collects the whole heap whenever some 64 MB of
 * buffers have come and gone, which at our rates is every second and cost a tenth of a local network's speed (docs/benchmarks.md).
 * Counted with the rest of the heap, most buffers go with the young generation instead.
 */
export function expectLargeBuffers(): void {
  setFlagsFromString("--external-memory-accounted-in-global-limit");
}

/**
 * The same for a process that keeps little and passes much on: as much garbage may gather as there is alive. By V8's own measure a daemon's
 * heap of 25 MB was searched for every 30 MB of buffers, six times in an epoch of a small model, with three threads helping.
 */
export function passLargeBuffersOn(): void {
  expectLargeBuffers();
  setFlagsFromString("--heap-growing-percent=100");
}
