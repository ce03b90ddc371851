import { useMemo, useState } from "react";
import type { Telemetry } from "../../../protocol/run-view.ts";
import { Choice } from "../../components/choice.tsx";
import { EmptyState } from "../../components/empty-state.tsx";
import { useMediaQuery } from "../../components/media-query.ts";
import { Panel } from "../../components/panel.tsx";
import { useAppState } from "../../state/store.ts";
import { format, strings } from "../../strings/strings.ts";
import { NetworkCanvas } from "./network-canvas.tsx";
import { NetworkTable } from "./network-table.tsx";

/** Who trains what, and the microbatches that go between them. */
export function NetworkPanel() {
  const run = useAppState((state) => state.run);
  const telemetry = useAppState((state) => state.telemetry);
  const minerId = useAppState(({ machine }) => machine.minerId);
  const paused = useAppState(({ machine }) => machine.state.kind === "paused");
  const own = useMemo(() => ({ minerId, paused }), [minerId, paused]);
  const reason = useAppState(({ machine }) => (machine.network.connected ? machine.state : machine.network).reason);
  const [view, setView] = useState<"graph" | "table">("graph");
  const texts = strings.network;
  const choice = (
    <Choice
      label={texts.viewLabel}
      value={view}
      options={[
        ["graph", texts.graph],
        ["table", texts.table],
      ]}
      onChange={setView}
    />
  );
  return (
    <Panel
      title={texts.title}
      className="network"
      actions={
        run && (
          <>
            <Legend telemetry={telemetry} />
            {choice}
          </>
        )
      }
    >
      {!run ? (
        <EmptyState title={strings.run.none} detail={reason || strings.run.noneDetail} />
      ) : view === "graph" ? (
        <NetworkCanvas stages={run.stages} telemetry={telemetry} own={own} />
      ) : (
        <NetworkTable run={run} telemetry={telemetry} own={own} />
      )}
    </Panel>
  );
}

/** Where nothing may move, numbers say what went by since the last update. */
function Legend({ telemetry }: { telemetry: Telemetry | null }) {
  const calm = useMediaQuery("(prefers-reduced-motion: reduce)");
  const texts = strings.network;
  const messages = (kind: "forward" | "backward") =>
    telemetry?.flows.reduce((sum, flow) => sum + (flow.kind === kind ? flow.messages : 0), 0) ?? 0;
  return (
    <ul className="legend" aria-label={texts.flowLegend}>
      {(["forward", "backward"] as const).map((kind) => (
        <li key={kind}>
          <span className={kind === "forward" ? "dot" : "dot ring"} aria-hidden="true" />
          {texts[kind]} {calm && <span className="legend-count">{format.count(messages(kind))}</span>}
        </li>
      ))}
    </ul>
  );
}
