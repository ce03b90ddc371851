import { type Accusation, isProven } from "../../protocol/accusation.ts";
import { FailureError } from "../../protocol/failure.ts";
import type { ServedRun } from "../runs/served-run.ts";

/** Throws `FailureError` (bad-signature) unless the accused has signed what convicts it: a false accusation is no news to a run. */
export function mustBeProven(accusation: Accusation, networkId: string, { definition }: ServedRun): void {
  if (!isProven(accusation, networkId, definition.stages))
    throw new FailureError("bad-signature", "What is said against a miner is not what that miner has signed.");
}
