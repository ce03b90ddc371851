import type { RunView, Telemetry } from "../../../protocol/run-view.ts";
import { ScrollRegion } from "../../components/scroll-region.tsx";
import { format, strings } from "../../strings/strings.ts";
import { type OwnMachine, shownState, stageTitle, telemetryByMiner } from "./network-view.ts";

interface NetworkTableProps {
  readonly run: RunView;
  readonly telemetry: Telemetry | null;
  readonly own: OwnMachine;
}

/** The same as the graph, in words: for the keyboard, for screen readers, and for comparing numbers. */
export function NetworkTable({ run, telemetry, own }: NetworkTableProps) {
  const texts = strings.network;
  const miners = telemetryByMiner(telemetry);
  return (
    <ScrollRegion className="network-table" label={texts.tableLabel}>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">{texts.columns.stage}</th>
            <th scope="col">{texts.columns.miner}</th>
            <th scope="col">{texts.columns.state}</th>
            <th scope="col" className="number">
              {texts.columns.speed}
            </th>
            <th scope="col" className="number">
              {texts.columns.inFlight}
            </th>
            <th scope="col" className="number">
              {texts.columns.memory}
            </th>
            <th scope="col" className="number">
              {texts.columns.credits}
            </th>
          </tr>
        </thead>
        <tbody>
          {run.stages.flatMap((stage) =>
            stage.replicas.map((replica) => {
              const { minerId, name } = replica;
              const state = shownState(replica, own);
              const figures = miners.get(minerId);
              const isOwn = minerId === own.minerId;
              return (
                <tr key={`${stage.index} ${minerId}`} data-own={isOwn || undefined} data-state={state}>
                  <td>{stageTitle(stage.index, run.stages.length)}</td>
                  <th scope="row">{isOwn ? texts.isThisMachine(name) : name}</th>
                  <td>{texts.states[state]}</td>
                  <td className="number">{figures ? format.count(figures.tokensPerSecond) : strings.unknown}</td>
                  <td className="number">{figures ? format.count(figures.microbatchesInFlight) : strings.unknown}</td>
                  <td className="number">{figures ? format.bytes(figures.memoryBytes) : strings.unknown}</td>
                  <td className="number">{format.credits(run.credits[minerId] ?? 0)}</td>
                </tr>
              );
            }),
          )}
        </tbody>
      </table>
    </ScrollRegion>
  );
}
