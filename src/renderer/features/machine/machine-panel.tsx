import { Facts } from "../../components/facts.tsx";
import { Panel } from "../../components/panel.tsx";
import { useAppState } from "../../state/store.ts";
import { format, strings } from "../../strings/strings.ts";
import { CheckDialog } from "./check-dialog.tsx";

/** What this computer does for the network, and what it costs the computer. */
export function MachinePanel() {
  const machine = useAppState((state) => state.machine);
  const activity = useAppState((state) => state.activity);
  const texts = strings.machine;
  const { figures } = texts;
  const { cpu, cores, backend, precision, adapter } = machine.device;
  const tokens = (amount: number) => (
    <>
      {format.short(amount)} <span className="unit">{strings.units.tokens}</span>
    </>
  );
  return (
    <Panel
      title={texts.title}
      className="machine"
      actions={
        <>
          <span className="machine-name" title={machine.minerId}>
            {machine.name}
          </span>
          <CheckDialog />
        </>
      }
    >
      <Facts
        facts={[
          { text: figures.forward, value: tokens(activity.tokensForward) },
          { text: figures.backward, value: tokens(activity.tokensBackward) },
          { text: figures.sent, value: format.bytes(activity.bytesSent) },
          { text: figures.received, value: format.bytes(activity.bytesReceived) },
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
