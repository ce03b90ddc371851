#!/usr/bin/env python3
"""Best rate of PyTorch's matrix product on the CPU over some products, in GFLOP/s; prints one JSON line.

  torch_gemm.py --threads 2 --dtype f32|bf16 MxNxK...
"""
import argparse, json, os, time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--dtype", choices=["f32", "bf16"], default="f32")
parser.add_argument("products", nargs="+")
options = parser.parse_args()

# As torch_llama.py: both thread pools agree, and no kernel is forced by the environment.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(options.threads)
if options.dtype == "f32":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(name, None)
import torch  # noqa: E402  (after the environment is set)

torch.set_num_threads(options.threads)
dtype = torch.float32 if options.dtype == "f32" else torch.bfloat16
best = 0
for product in options.products:
    m, n, k = map(int, product.split("x"))
    a, b = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype)
    for _ in range(12):
        start = time.perf_counter()
        a @ b
        best = max(best, 2 * m * n * k / (time.perf_counter() - start) / 1e9)
print(json.dumps(dict(gemmGflops=best)))
