import type { LinkReport } from "../../../protocol/link-report.ts";
import type { TrafficView } from "../../../protocol/machine-view.ts";
import { Facts } from "../../components/facts.tsx";
import { Panel } from "../../components/panel.tsx";
import { useAppState } from "../../state/store.ts";
import { format, strings } from "../../strings/strings.ts";
import { CheckDialog } from "./check-dialog.tsx";
import { LimitsDialog } from "./limits-dialog.tsx";

/** What this computer does for the network, and what it costs the computer. */
export function MachinePanel() {
  const machine = useAppState((state) => state.machine);
  const activity = useAppState((state) => state.activity);
  const traffic = useAppState((state) => state.traffic);
  const ofRun = useAppState((state) => state.traffic.runs.find(({ runId }) => runId === state.run?.runId));
  const texts = strings.machine;
  const { connection } = machine;
  const { figures } = texts;
  const { cpu, cores, backend, precision, adapter } = machine.device;
  const tokens = (amount: number) => (
    <>
      {format.short(amount)} <span className="unit">{strings.units.tokens}</span>
    </>
  );
  const carried = (total: number, run: number | undefined) =>
    run === undefined ? format.bytes(total) : texts.ofRun(format.bytes(total), format.bytes(run));
  const rate = (bytesPerSecond: number, cap: number | null) => {
    const megabits = format.megabits(bytesPerSecond);
    return (
      <>
        {cap === null ? megabits : texts.ofCap(megabits, format.tick(cap))}{" "}
        <span className="unit">{strings.units.megabits}</span>
      </>
    );
  };
  const line = ({ upBytesPerSecond, downBytesPerSecond, roundTripMs }: LinkReport) => {
    const megabits = (measured: number | null) => (measured === null ? strings.unknown : format.megabits(measured));
    const milliseconds = roundTripMs === null ? strings.unknown : format.tick(roundTripMs);
    return texts.link(megabits(upBytesPerSecond), megabits(downBytesPerSecond), milliseconds);
  };
  const peers = (all: TrafficView["peers"]) => {
    const direct = all.filter(({ way }) => way === "direct").length;
    return texts.peers(format.count(direct), format.count(all.length - direct));
  };
  return (
    <Panel
      title={texts.title}
      className="machine"
      actions={
        <>
          <span className="machine-name" title={machine.minerId}>
            {machine.name}
          </span>
          <LimitsDialog />
          <CheckDialog />
        </>
      }
    >
      <Facts
        facts={[
          { text: figures.forward, value: tokens(activity.tokensForward) },
          { text: figures.backward, value: tokens(activity.tokensBackward) },
          { text: figures.sent, value: carried(traffic.total.sentBytes, ofRun?.sentBytes) },
          { text: figures.received, value: carried(traffic.total.receivedBytes, ofRun?.receivedBytes) },
          { text: figures.upload, value: rate(traffic.sentBytesPerSecond, connection.maxUploadMbps) },
          { text: figures.download, value: rate(traffic.receivedBytesPerSecond, connection.maxDownloadMbps) },
          { text: figures.link, value: line(traffic.link), long: true },
          { text: figures.peers, value: peers(traffic.peers) },
          { text: figures.inFlight, value: format.count(activity.microbatchesInFlight) },
          {
            text: figures.memory,
            value: texts.memory(format.bytes(activity.memoryBytes), format.bytes(machine.device.memoryLimitBytes)),
          },
          { text: figures.training, value: format.duration(activity.trainingSeconds) },
          {
            text: figures.device,
            value: texts.device(cpu, format.count(cores), adapter ?? backend, precision),
            long: true,
          },
          { text: figures.networkUrl, value: machine.network.url, long: true },
        ]}
      />
    </Panel>
  );
}
