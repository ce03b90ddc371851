/**
 * A miner that has signed a lie to its peers is out of this attempt at the epoch, in all its places, and earns nothing with it. Another
 * attempt may need it: without the only replica of a stage no epoch would ever end. The gateway has verified the proof: whoever brings
 * it need not be believed, and need not have a place.
 */
import { type Accusation, accusedOf } from "../../../protocol/accusation.ts";
import { assertNever } from "../../../protocol/assert-never.ts";
import { sameEpoch, shortId } from "../../../protocol/ids.ts";
import { replicaOf } from "./replicas.ts";
import { memberOf, stageName } from "./state.ts";
import type { Turn } from "./turn.ts";

export function convict(turn: Turn, accusation: Accusation): void {
  const { at, proof } = accusation;
  const accused = accusedOf(accusation);
  const replica = replicaOf(turn.state, at.stage, accused);
  if (!sameEpoch(at, turn.at) || replica === undefined || replica.convicted) return;
  // What is being merged has its numbers in it by now; before, they are left out.
  const change = { convicted: true, part: "out" } as const;
  const whole = turn.state.phase.name === "merging" ? change : { ...change, contribution: null };
  for (const stage of turn.state.stages.keys()) turn.changeReplica(stage, accused, whole);
  const member = memberOf(turn.state, accused);
  const convictions = (member?.convictions ?? 0) + 1;
  turn.changeMember(accused, { convictions, unreliable: true });
  const where = stageName(turn.state, at.stage).toLowerCase();
  turn.log(
    "warning",
    `${member?.name ?? shortId(accused)} is out of this attempt at epoch ${at.epoch}, and earns nothing with it: ${lieOf(proof)} in ${where} (${convictions} such proofs so far).`,
  );
}

function lieOf(proof: Accusation["proof"]): string {
  switch (proof.type) {
    case "two-contents":
      return "it signed different numbers for the same";
    case "false-origin":
      return "it computed from what nobody had sent to it";
    default:
      return assertNever(proof);
  }
}
