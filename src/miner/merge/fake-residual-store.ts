/** For tests: residuals in memory. */
import type { ResidualOf, ResidualStore } from "./error-feedback-keeper.ts";

export class FakeResidualStore implements ResidualStore {
  readonly stored = new Map<string, { readonly epoch: number; readonly payload: Uint8Array }>();

  async read(of: ResidualOf): Promise<Uint8Array | "none"> {
    return this.stored.get(keyOf(of))?.payload ?? "none";
  }

  async write(of: ResidualOf, epoch: number, payload: Uint8Array): Promise<void> {
    this.stored.set(keyOf(of), { epoch, payload });
  }
}

function keyOf({ runId, stage }: ResidualOf): string {
  return `${runId} ${stage}`;
}
