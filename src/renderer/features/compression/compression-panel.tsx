import type { BoundaryAlarm, RunView } from "../../../protocol/run-view.ts";
import { type Fact, Facts } from "../../components/facts.tsx";
import { Panel } from "../../components/panel.tsx";
import { useAppState } from "../../state/store.ts";
import { format, strings } from "../../strings/strings.ts";

const texts = strings.compression;

/** What the run sends, how much less that is, and whether the numbers bear it. */
export function CompressionPanel() {
  const run = useAppState((state) => state.run);
  if (run === null) return null;
  return (
    <Panel title={texts.title} className="compression">
      <Facts facts={transmissionFacts(run)} />
      <Boundaries run={run} />
    </Panel>
  );
}

function transmissionFacts({ transmission, boundaryFormats, stages }: RunView): readonly Fact[] {
  const { facts } = texts;
  const { forwardBytesPerToken, backwardBytesPerToken, boundaryRatio, columns } = transmission;
  const { mergeBytesPerParameter, exchangeBytesPerParameter } = transmission;
  const perParameter = (bytes: number) => texts.perParameter(format.bytes(bytes));
  const boundaryFacts: readonly Fact[] = [
    { text: facts.formats, value: texts.formats(boundaryFormats.forward, boundaryFormats.backward) },
    { text: facts.channels, value: format.count(columns) },
    {
      text: facts.perToken,
      value: texts.perToken(format.bytes(forwardBytesPerToken), format.bytes(backwardBytesPerToken)),
    },
    { text: facts.ratio, value: texts.ratio(format.short(boundaryRatio)) },
  ];
  return [
    ...(stages.length > 1 ? boundaryFacts : []),
    { text: facts.merge, value: perParameter(mergeBytesPerParameter) },
    {
      text: facts.exchange,
      value: exchangeBytesPerParameter === null ? texts.noExchange : perParameter(exchangeBytesPerParameter),
    },
  ];
}

/** One line for each boundary that was measured; of its alarms the last. */
function Boundaries({ run }: { readonly run: RunView }) {
  if (run.boundaries.length === 0) return null;
  return (
    <ul className="boundaries" aria-label={texts.boundaries}>
      {run.boundaries.map(({ stage, rms, relativeError }) => {
        const alarm = run.alarms.findLast((one) => one.stage === stage);
        return (
          <li key={stage} data-alarm={alarm !== undefined}>
            <p>{texts.boundary(format.count(stage + 1), format.count(stage + 2))}</p>
            <p className="boundary-figures">{texts.health(format.short(rms), format.percent(relativeError))}</p>
            {alarm && <p className="boundary-alarm">{alarmText(alarm)}</p>}
          </li>
        );
      })}
    </ul>
  );
}

function alarmText({ kind, epoch }: BoundaryAlarm): string {
  return texts.alarm(texts.alarms[kind], format.count(epoch));
}
