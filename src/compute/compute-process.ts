/** How a process that computes is started, so that tensors that have come and gone do not take up memory for long. */
export const computeProcess = {
  /** MiB. They count as young garbage, which is collected when there is a multiple of this. */
  execArgv: ["--max-semi-space-size=1"],
  /** Bytes. From this size on glibc gives memory back to the system as soon as it is freed; left alone, it learns to keep it. */
  environment: { MALLOC_MMAP_THRESHOLD_: String(2 ** 20) },
} as const;
