import { CompressionPanel } from "./features/compression/compression-panel.tsx";
import { CreditsPanel } from "./features/earnings/credits-panel.tsx";
import { ConnectionNotice } from "./features/header/connection-notice.tsx";
import { Header } from "./features/header/header.tsx";
import { NoDaemon } from "./features/header/no-daemon.tsx";
import { Headline } from "./features/headline/headline.tsx";
import { RecordPanel } from "./features/log/record-panel.tsx";
import { MachinePanel } from "./features/machine/machine-panel.tsx";
import { NetworkPanel } from "./features/network/network-panel.tsx";
import { RunPanel } from "./features/run/run-panel.tsx";
import { RunsPanel } from "./features/runs/runs-panel.tsx";
import { LossPanel } from "./features/training/loss-panel.tsx";
import { useDashboard } from "./state/store.ts";

export function App() {
  const known = useDashboard(({ view }) => view !== null);
  const stale = useDashboard(({ connection }) => connection.kind !== "open");
  if (!known) return <NoDaemon />;
  return (
    <div className="page" data-stale={stale || undefined}>
      <Header />
      <ConnectionNotice />
      <main className="board">
        <Headline />
        <NetworkPanel />
        <LossPanel />
        <RecordPanel />
        <aside className="side">
          <MachinePanel />
          <CreditsPanel />
          <RunPanel />
          <CompressionPanel />
          <RunsPanel />
        </aside>
      </main>
    </div>
  );
}
