import type { RunView, Telemetry } from "../../../protocol/run-view.ts";
import { EmptyState } from "../../components/empty-state.tsx";
import { type Fact, Facts } from "../../components/facts.tsx";
import { Panel } from "../../components/panel.tsx";
import { useAppState } from "../../state/store.ts";
import { format, strings } from "../../strings/strings.ts";
import { minerCounts } from "../network/network-view.ts";
import { RunSteering, useOwnsNetwork } from "./run-steering.tsx";

/** What is being trained. */
export function RunPanel() {
  const run = useAppState((state) => state.run);
  const staleness = useAppState((state) => state.telemetry?.staleness);
  const owned = useOwnsNetwork();
  const texts = strings.run;
  const steering = { pause: texts.pauseForAll, resume: texts.resumeForAll };
  return (
    <Panel title={texts.title} className="run" actions={run && owned && <RunSteering run={run} texts={steering} />}>
      {run ? <Facts facts={runFacts(run, staleness)} /> : <EmptyState title={texts.none} detail={texts.noneDetail} />}
    </Panel>
  );
}

function runFacts(run: RunView, staleness: Telemetry["staleness"] | undefined): readonly Fact[] {
  const texts = strings.run;
  const { facts } = texts;
  const { checkpoint } = run;
  return [
    { text: facts.parameters, value: format.short(run.parameters) },
    { text: facts.shape, value: texts.shape(format.count(run.layers), format.count(run.width)) },
    { text: facts.tokenizer, value: texts.tokenizer(run.tokenizer, format.count(run.vocabulary)) },
    {
      text: facts.stages,
      value: texts.stages(format.count(run.stages.length), format.count(minerCounts(run.stages).miners)),
    },
    { text: facts.mode, value: texts.modes[run.mode] },
    {
      text: facts.epoch,
      value:
        run.attempt === 0
          ? format.count(run.epoch)
          : texts.attempt(format.count(run.epoch), format.count(run.attempt + 1)),
    },
    { text: facts.lost, value: format.count(run.microbatchesLost) },
    { text: facts.partitionsLost, value: format.count(run.partitionsLost) },
    {
      text: facts.staleness,
      value: staleness ? texts.staleness(format.short(staleness.mean), format.count(staleness.most)) : strings.unknown,
    },
    {
      text: facts.checkpoint,
      value: checkpoint
        ? texts.checkpoint(format.count(checkpoint.epoch), format.short(checkpoint.tokens))
        : texts.noCheckpoint,
    },
    { text: facts.phaseSince, value: format.time(run.phaseSinceMs) },
  ];
}
