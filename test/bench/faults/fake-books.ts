/** What an orchestrator would have written about a small honest run, for tests of what reads it. */
import type { RunEvent } from "../../../src/network/orchestrator/core/event.ts";
import { FakeSwarm } from "../../../src/network/orchestrator/core/fake-swarm.ts";
import { createRun } from "../../../src/network/orchestrator/core/state.ts";
import type { Books } from "./invariants.ts";

/** Two epochs of two replicas per stage, one of which is lost in the second. */
export function fakeBooks(): Books {
  const swarm = new FakeSwarm();
  const first = createRun(swarm.state.definition, swarm.nowMs);
  swarm.join(1, 2, 3, 4, 5, 6);
  swarm.finishEpoch();
  swarm.happen(evaluated(1, 3));
  swarm.reach("training");
  const [lost] = swarm.state.roster.announced.stages[2] ?? [];
  if (lost === undefined) throw new Error("the stage has no replica");
  swarm.loseForGood(Number.parseInt(lost.minerId, 16));
  swarm.finishEpoch();
  swarm.happen(evaluated(2, 2));
  const receipts = swarm.effects.flatMap((effect) =>
    effect.type === "credit" ? [{ networkId: "network", ...effect.receipt }] : [],
  );
  return { first, events: swarm.events, receipts };
}

export function evaluated(epoch: number, validationLossNats: number): RunEvent {
  const evaluation = { epoch, tokens: epoch, validationLossNats, validationTokens: 1, sample: null };
  return { atMs: 0, type: "evaluated", evaluation };
}
