import { type KeyboardEvent, useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useElementSize } from "../../components/element-size.ts";
import { type Palette, usePalette } from "../../components/palette.ts";
import { format } from "../../strings/strings.ts";
import { type Axis, type LossSeries, logTicks } from "./loss-series.ts";

export type Scale = "linear" | "log";

interface LossChartProps {
  readonly series: LossSeries;
  readonly axis: Axis;
  readonly scale: Scale;
  readonly label: string;
  /** The index under the cursor; null when there is none. */
  readonly onCursor: (index: number | null) => void;
}

/** uPlot on a canvas: draws 100,000 points in some milliseconds. */
export function LossChart({ series, axis, scale, label, onCursor }: LossChartProps) {
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const size = useElementSize(frame);
  const laidOut = size !== null;
  const palette = usePalette();
  const data = useRef(series);
  data.current = series;
  const report = useRef(onCursor);
  report.current = onCursor;

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new size and new data change the plot in the effects below
  useEffect(() => {
    const element = frame.current;
    if (!element || !size) return;
    const options = plotOptions(axis, scale, palette, getComputedStyle(element).fontFamily, (index) =>
      report.current(index),
    );
    const created = new uPlot({ ...options, ...size }, columns(data.current), element);
    plot.current = created;
    return () => {
      plot.current = null;
      created.destroy();
    };
  }, [laidOut, axis, scale, palette]);

  useEffect(() => {
    if (size) plot.current?.setSize(size);
  }, [size]);

  useEffect(() => plot.current?.setData(columns(series)), [series]);

  const step = (event: KeyboardEvent) => {
    const direction = event.key === "ArrowLeft" ? -1 : event.key === "ArrowRight" ? 1 : 0;
    const shown = plot.current;
    if (direction === 0 || !shown || series.x.length === 0) return;
    event.preventDefault();
    const from = shown.cursor.idx ?? (direction === 1 ? -1 : series.x.length);
    const index = Math.min(series.x.length - 1, Math.max(0, from + direction));
    shown.setCursor({ left: shown.valToPos(series.x[index] ?? 0, "x"), top: 0 });
  };

  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: the arrow keys read the points that the pointer hovers over
    <section ref={frame} className="loss-frame" aria-label={label} tabIndex={0} onKeyDown={step} />
  );
}

const timeSteps = [1, 5, 10, 30, 60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_592_000];

function timeTexts(_plot: uPlot, ticks: number[], _axis: number, _space: number, step: number): string[] {
  const text = step < 60 ? format.time : step < 86_400 ? format.minute : format.date;
  return ticks.map((seconds) => text(seconds * 1000));
}

function columns({ x, train, validation }: LossSeries): uPlot.AlignedData {
  return [x as number[], train as (number | null)[], validation as (number | null)[]];
}

function plotOptions(
  axis: Axis,
  scale: Scale,
  palette: Palette,
  fontFamily: string,
  onCursor: (index: number | null) => void,
): Omit<uPlot.Options, "width" | "height"> {
  const font = `12px ${fontFamily}`;
  const lines = { stroke: palette["ink-3"], font, ticks: { show: false }, grid: { stroke: palette.line, width: 1 } };
  return {
    padding: [8, 14, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
    scales: {
      x: { time: axis === "time" },
      y: { distr: scale === "log" ? 3 : 1, range: (_plot, least, most) => lossRange(least, most, scale) },
    },
    axes: [
      {
        ...lines,
        size: 30,
        ...(axis === "tokens"
          ? { values: (_plot: uPlot, ticks: number[]) => ticks.map((value) => format.tick(value)) }
          : { incrs: timeSteps, values: timeTexts }),
      },
      {
        ...lines,
        size: 46,
        ...(scale === "log"
          ? { splits: (plot: uPlot) => logTicks(...axisRange(plot)), filter: (_p: uPlot, s: number[]) => s }
          : {}),
        values: (_plot, values) => values.map((value) => String(Number(value.toPrecision(3)))),
      },
    ],
    series: [
      {},
      {
        stroke: palette["ink-3"],
        width: 1.5,
        spanGaps: true,
        // A line needs two.
        points: { show: (plot) => plot.data[0].length < 3, size: 5, fill: palette["ink-3"] },
      },
      {
        stroke: palette.ink,
        width: 2,
        spanGaps: true,
        points: { show: (plot) => plot.data[0].length < 200, size: 6, fill: palette.ink },
      },
    ],
    hooks: { setCursor: [(plot) => onCursor(plot.cursor.idx ?? null)] },
  };
}

function axisRange({ scales: { y } }: uPlot): [least: number, most: number] {
  return [y?.min ?? 1, y?.max ?? 10];
}

/** A little air above and below; a logarithmic axis never touches 0. */
function lossRange(least: number | null, most: number | null, scale: Scale): [number, number] {
  if (least === null || most === null) return scale === "log" ? [1, 10] : [0, 6];
  if (scale === "log") return [Math.max(1e-3, least * 0.93), Math.max(1e-3, most) * 1.07];
  const air = Math.max(0.05, (most - least) * 0.06);
  return [Math.max(0, least - air), most + air];
}
