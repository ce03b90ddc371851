import type { Program } from "../program.ts";
import { type Reductions, reducingLanes } from "./reductions.ts";

/** One workgroup per row. logits: [rows, width], overwritten by their gradient; losses: [rows]; targets: int32 [rows]. */
export const crossEntropy = ({ by, program, declarations }: Reductions) =>
  ({
    name: `cross-entropy, by ${by}`,
    ...program,
    lanes: reducingLanes,
    operands: { losses: ["write", "f32"], logits: ["write", "f32"], targets: ["read", "i32"] },
    parameters: { width: "u32", gradient_scale: "f32" },
    declarations,
    body: /* wgsl */ `
    let first = group * given.width;
    let target_class = u32(targets[group]);
    var lane_highest = -3.4e38;
    for (var c = lane; c < given.width; c += ${reducingLanes}u) { lane_highest = max(lane_highest, logits[first + c]); }
    let highest = maximum_over_lanes(lane, lane_highest);
    var lane_total = 0.0;
    for (var c = lane; c < given.width; c += ${reducingLanes}u) { lane_total += exp(logits[first + c] - highest); }
    let total = sum_over_lanes(lane, lane_total);
    if (lane == 0u) { losses[group] = log(total) - (logits[first + target_class] - highest); }
    // The target's logit has been read before it is overwritten.
    storageBarrier();
    for (var c = lane; c < given.width; c += ${reducingLanes}u) {
      let probability = exp(logits[first + c] - highest) / total;
      logits[first + c] = given.gradient_scale * (probability - select(0.0, 1.0, c == target_class));
    }`,
  }) as const satisfies Program;
