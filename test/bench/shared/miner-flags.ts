/** Flags of `tah mine` for one of many miners on this computer: one stage, computed by one thread, and a key that goes with its folder. */
export function smallMinerFlags(precision: "f32" | "bf16"): readonly string[] {
  const place = ["--maximum-stages", "1", "--key-store", "file"];
  return ["--backend", "native", "--precision", precision, "--threads", "1", ...place];
}
