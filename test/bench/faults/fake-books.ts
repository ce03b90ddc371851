/** What an orchestrator would have written about a small honest run, for tests of what reads it. */
import type { RunEvent } from "../../../src/network/orchestrator/core/event.ts";
import { FakeSwarm } from "../../../src/network/orchestrator/core/fake-swarm.ts";
import type { Books } from "./invariants.ts";

/** Four epochs of two replicas per stage, one of which is lost in the first. */
export function fakeBooks(): Books {
  const swarm = new FakeSwarm();
  swarm.join(1, 2, 3, 4, 5, 6);
  swarm.reach("training");
  swarm.loseForGood(6);
  for (let epoch = 1; epoch <= 4; epoch++) {
    swarm.finishEpoch();
    swarm.finishUpload();
    swarm.happen(evaluated(epoch, 4 - epoch / 2));
  }
  const receipts = swarm.effects.flatMap((effect) =>
    effect.type === "credit" ? [{ networkId: "network", ...effect.receipt }] : [],
  );
  return { first: swarm.initial, events: swarm.events, receipts };
}

export function evaluated(epoch: number, validationLossNats: number): RunEvent {
  const evaluation = { epoch, tokens: epoch, validationLossNats, validationTokens: 1, sample: null };
  return { atMs: 0, type: "evaluated", evaluation };
}
