import type { Plan } from "../../../protocol/plan-view.ts";
import type { BoundaryAlarm, RunView } from "../../../protocol/run-view.ts";
import { Explained } from "../../components/explained.tsx";
import { type Fact, Facts } from "../../components/facts.tsx";
import { Panel } from "../../components/panel.tsx";
import { ScrollRegion } from "../../components/scroll-region.tsx";
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
      <Costs plan={run.plan.current} />
    </Panel>
  );
}

function transmissionFacts({ transmission, boundaryFormats, stages, plan }: RunView): readonly Fact[] {
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
    { text: facts.epoch, value: texts.stepsPerEpoch(format.count(plan.current.stepsPerEpoch)) },
    { text: facts.step, value: texts.tokensPerStep(format.short(plan.current.tokensPerStep)) },
    { text: facts.speed, value: texts.speed(format.percent(plan.current.efficiency)) },
    { text: facts.gap, value: texts.gap(format.tick(plan.current.lossGapPercent)) },
  ];
}

/** What is expected of each part, on the slowest links that the run has. */
function Costs({ plan }: { readonly plan: Plan }) {
  const { columns } = texts;
  const figures = [columns.perToken, columns.perEpoch, columns.uplink, columns.waits, columns.loss];
  return (
    <ScrollRegion label={texts.costs}>
      <table className="table">
        <thead>
          <tr>
            <th scope="col">{columns.part}</th>
            {figures.map((figure) => (
              <th key={figure} scope="col" className="number">
                {figure}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {plan.costs.map(
            ({ part, bytesPerToken, bytesPerEpoch, uplinkShare, waitShare, lossGapPercent, measured }) => (
              <tr key={part}>
                <th scope="row">{texts.parts[part]}</th>
                <td className="number">{format.bytes(bytesPerToken)}</td>
                <td className="number">{format.bytes(bytesPerEpoch)}</td>
                <td className="number">{format.percent(uplinkShare)}</td>
                <td className="number">{format.percent(waitShare)}</td>
                <td className="number">
                  <Explained
                    text={[
                      texts.gapOf(format.tick(lossGapPercent)),
                      measured === null ? texts.estimated : texts.measuredAt(measured),
                    ]}
                  />
                </td>
              </tr>
            ),
          )}
        </tbody>
      </table>
    </ScrollRegion>
  );
}

/** One line for each boundary that was measured; of its alarms the last. */
function Boundaries({ run }: { readonly run: RunView }) {
  if (run.boundaries.length === 0) return null;
  return (
    <ul className="boundaries" aria-label={texts.boundaries}>
      {run.boundaries.map((boundary) => (
        <Boundary
          key={boundary.stage}
          boundary={boundary}
          alarm={run.alarms.findLast(({ stage }) => stage === boundary.stage)}
        />
      ))}
    </ul>
  );
}

interface BoundaryProps {
  readonly boundary: RunView["boundaries"][number];
  readonly alarm: BoundaryAlarm | undefined;
}

function Boundary({ boundary: { stage, rms, relativeError }, alarm }: BoundaryProps) {
  return (
    <li>
      <p>{texts.boundary(format.count(stage + 1), format.count(stage + 2))}</p>
      <p className="boundary-figures">{texts.health(format.short(rms), format.percent(relativeError))}</p>
      {alarm && <p className="boundary-alarm">{alarmText(alarm)}</p>}
    </li>
  );
}

function alarmText({ kind, epoch }: BoundaryAlarm): string {
  return texts.alarm(texts.alarms[kind], format.count(epoch));
}
