/** What the probe has a device do to learn its rate. */
import { type Device, type DeviceBuffer, slice } from "../kernels.ts";
import type { Multiplication } from "../worker-protocol.ts";

export async function multiply(device: Device, { m, n, k, times }: Multiplication): Promise<void> {
  const held: DeviceBuffer[] = [];
  const matrix = (length: number, value: number) => {
    const buffer = device.allocate(length);
    held.push(buffer);
    const all = slice(buffer);
    device.kernels.fill(all, value);
    return all;
  };
  try {
    const [out, a, b] = [matrix(m * n, 0), matrix(m * k, 0.5), matrix(n * k, 0.25)];
    for (let time = 0; time < times; time++) device.kernels.matmul(out, a, b, { m, n, k, transposeB: true });
    await device.download(slice(out.buffer, 0, 1));
  } finally {
    for (const buffer of held) device.free(buffer);
  }
}
