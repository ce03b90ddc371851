/** Brings what a network asks of miners that it does not know: the invitation that this one was given, or work. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type AdmissionNeed, type AdmissionProof, isWorkDone, workSolution } from "../../protocol/admission.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { MinerId } from "../../protocol/ids.ts";

/** A few milliseconds' worth: the process has other things to do. */
const triesAtOnce = 2000;

export class AdmissionProofs {
  readonly #minerId: MinerId;
  readonly #invitation: string | null;
  /** By network and difficulty: a connection that was lost meanwhile does not cost the work that was done. */
  readonly #work = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();

  constructor(minerId: MinerId, invitation: string | null) {
    this.#minerId = minerId;
    this.#invitation = invitation;
  }

  /** Rejects with `FailureError` (admission-refused) when there is nothing to bring. */
  async prove(need: AdmissionNeed, networkId: string): Promise<AdmissionProof> {
    if (need.kind === "proof-of-work")
      return { kind: "proof-of-work", solution: await this.#solved(networkId, need.bits) };
    if (this.#invitation === null)
      throw new FailureError("admission-refused", "This network lets in only who was invited.", {
        action: "Ask its owner for an address with an invitation (tah network invite).",
      });
    return { kind: "invitation", token: this.#invitation };
  }

  #solved(networkId: string, bits: number): Promise<Uint8Array<ArrayBuffer>> {
    const key = `${networkId} ${bits}`;
    const solution = this.#work.get(key) ?? this.#solve(networkId, bits);
    this.#work.set(key, solution);
    return solution;
  }

  async #solve(networkId: string, bits: number): Promise<Uint8Array<ArrayBuffer>> {
    for (let number = 0; ; number++) {
      const solution = workSolution(number);
      if (isWorkDone(networkId, this.#minerId, solution, bits)) return solution;
      if (number % triesAtOnce === 0) await nextTurn();
    }
  }
}
