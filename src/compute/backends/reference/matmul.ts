import type { MatmulShape, Slice } from "../../kernels.ts";
import { at, reals } from "./memory.ts";

/** out[i, j] (+)= Σ_p a[i, p] · b[p, j]; a transposed operand only changes the strides it is read with. */
export function matmul(outSlice: Slice, aSlice: Slice, bSlice: Slice, shape: MatmulShape): void {
  const { m, n, k } = shape;
  const [out, a, b] = [reals(outSlice), reals(aSlice), reals(bSlice)];
  const [aRow, aColumn] = shape.transposeA ? [1, m] : [k, 1];
  const [bRow, bColumn] = shape.transposeB ? [1, k] : [n, 1];
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let sum = shape.accumulate ? at(out, i * n + j) : 0;
      for (let p = 0; p < k; p++) sum += at(a, i * aRow + p * aColumn) * at(b, p * bRow + j * bColumn);
      out[i * n + j] = sum;
    }
}
