/** The microbatches of a stage that are between their forward and their backward pass, and the memory that they keep. */
import { DeviceMemoryError } from "./kernels.ts";
import type { MemoryPlan } from "./model/memory-plan.ts";
import type { Stage, StagePass } from "./model/stage.ts";
import { allocateActivations, type StageActivations } from "./model/stage-memory.ts";
import type { MicrobatchKey } from "./worker-protocol.ts";

export class ActivationPool {
  readonly #stage: Stage;
  readonly #plan: MemoryPlan;
  readonly #limitBytes: number;
  readonly #inFlight = new Map<MicrobatchKey, { readonly kept: StageActivations; readonly pass: StagePass }>();
  /** Activations that no microbatch uses. */
  readonly #idle: StageActivations[] = [];
  #allocated = 0;

  /** Takes the memory of the first microbatch at once. */
  constructor(stage: Stage, plan: MemoryPlan, limitBytes: number) {
    this.#stage = stage;
    this.#plan = plan;
    this.#limitBytes = limitBytes;
    this.#idle.push(this.#take());
  }

  /** Lets `use` have the memory of one microbatch for a while. */
  async borrow<Result>(use: (kept: StageActivations) => Promise<Result>): Promise<Result> {
    const kept = this.#take();
    try {
      return await use(kept);
    } finally {
      this.#idle.push(kept);
    }
  }

  /** Runs the forward pass of a microbatch, which is in flight from then on, unless it fails. */
  async launch<Result>(
    microbatch: MicrobatchKey,
    forward: (kept: StageActivations) => Promise<{ readonly pass: StagePass; readonly result: Result }>,
  ): Promise<Result> {
    if (this.#inFlight.has(microbatch)) throw new Error(`microbatch ${microbatch} is already in flight`);
    const kept = this.#take();
    try {
      const { pass, result } = await forward(kept);
      this.#inFlight.set(microbatch, { kept, pass });
      return result;
    } catch (error) {
      this.#idle.push(kept);
      throw error;
    }
  }

  /** Runs the backward pass of a microbatch, which is not in flight any more, even if it fails. */
  async land<Result>(microbatch: MicrobatchKey, backward: (pass: StagePass) => Promise<Result>): Promise<Result> {
    const flown = this.#inFlight.get(microbatch);
    if (!flown) throw new Error(`microbatch ${microbatch} is not in flight`);
    try {
      return await backward(flown.pass);
    } finally {
      this.discard([microbatch]);
    }
  }

  /** Forgets those of them that are in flight. */
  discard(microbatches: readonly MicrobatchKey[]): void {
    for (const microbatch of microbatches) {
      const dropped = this.#inFlight.get(microbatch);
      if (!dropped) continue;
      this.#inFlight.delete(microbatch);
      this.#idle.push(dropped.kept);
    }
  }

  discardAll(): void {
    this.discard([...this.#inFlight.keys()]);
  }

  /** Throws `DeviceMemoryError` when the device is full, or when there would be no room left for what the plan sets aside. */
  #take(): StageActivations {
    const idle = this.#idle.pop();
    if (idle) return idle;
    const { activationsPerMicrobatchBytes, microbatchesInFlight, totalBytes } = this.#plan;
    const unplanned = Math.max(0, this.#allocated + 1 - microbatchesInFlight);
    if (totalBytes + unplanned * activationsPerMicrobatchBytes > this.#limitBytes)
      throw new DeviceMemoryError(
        activationsPerMicrobatchBytes,
        `a limit of ${this.#limitBytes} bytes`,
        `the ${activationsPerMicrobatchBytes} bytes of another microbatch than the ${this.#allocated} in flight`,
      );
    const kept = allocateActivations(this.#stage);
    this.#allocated += 1;
    return kept;
  }
}
