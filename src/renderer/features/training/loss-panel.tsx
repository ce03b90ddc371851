import { useMemo, useState } from "react";
import { Choice } from "../../components/choice.tsx";
import { EmptyState } from "../../components/empty-state.tsx";
import { Panel } from "../../components/panel.tsx";
import { useAppLists, useDashboard } from "../../state/store.ts";
import { format, strings } from "../../strings/strings.ts";
import { LossChart, type Scale } from "./loss-chart.tsx";
import { type Axis, type LossSeries, lossSeries, valueAt } from "./loss-series.ts";
import { useLossUnit } from "./loss-unit.ts";

/** How well the model predicts text, over what it cost to learn it. */
export function LossPanel() {
  const epochs = useAppLists((lists) => lists.epochs);
  const evaluations = useAppLists((lists) => lists.evaluations);
  const live = useDashboard(({ liveLoss }) => liveLoss);
  const [axis, setAxis] = useState<Axis>("tokens");
  const [scale, setScale] = useState<Scale>("linear");
  const [cursor, setCursor] = useState<number | null>(null);
  const series = useMemo(() => lossSeries(epochs, evaluations, live, axis), [epochs, evaluations, live, axis]);
  const texts = strings.training;

  const last = series.x.length - 1;
  const latest = { train: lossText(series.train, last), validation: lossText(series.validation, last) };
  return (
    <Panel
      title={texts.title}
      className="loss"
      actions={
        <>
          <Choice
            label={texts.scaleLabel}
            value={scale}
            options={[
              ["linear", texts.linear],
              ["log", texts.log],
            ]}
            onChange={setScale}
          />
          <Choice
            label={texts.axisLabel}
            value={axis}
            options={[
              ["tokens", texts.tokens],
              ["time", texts.time],
            ]}
            onChange={setAxis}
          />
        </>
      }
    >
      {last < 0 ? (
        <EmptyState title={texts.empty} detail={texts.emptyDetail} />
      ) : (
        <>
          <Readout series={series} axis={axis} cursor={cursor} />
          <LossChart
            series={series}
            axis={axis}
            scale={scale}
            label={texts.chartLabel(latest.train, latest.validation)}
            onCursor={setCursor}
          />
        </>
      )}
    </Panel>
  );
}

function lossText(column: LossSeries["train"], index: number): string {
  const value = valueAt(column, index);
  return value === null ? strings.unknown : format.loss(value);
}

/** The values under the cursor, or the latest: also the chart's legend. */
function Readout({ series, axis, cursor }: { series: LossSeries; axis: Axis; cursor: number | null }) {
  const unit = useLossUnit();
  const texts = strings.training;
  const index = cursor !== null && cursor < series.x.length ? cursor : series.x.length - 1;
  const x = series.x[index] ?? 0;
  const where = axis === "tokens" ? texts.atTokens(format.short(x)) : texts.atTime(format.dateTime(x * 1000));
  return (
    <p className="readout">
      <span className="readout-series train">
        {texts.train} <b>{lossText(series.train, index)}</b>
      </span>
      <span className="readout-series validation">
        {texts.validation} <b>{lossText(series.validation, index)}</b>
      </span>
      <span className="readout-where">
        {unit} {cursor === null ? texts.latest : where}
      </span>
    </p>
  );
}
