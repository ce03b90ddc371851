/** The frontier of codecs as a picture: what is saved, on a logarithmic axis, against what it costs. Legible on light and dark pages. */

export interface PlotPoint {
  /** As it is written beside the point. */
  readonly label: string;
  readonly ratio: number;
  /** In percent, with the lowest and the highest of the seeds. */
  readonly gap: { readonly mean: number; readonly lowest: number; readonly highest: number };
}

export interface PlotSeries {
  readonly name: string;
  /** By ratio. */
  readonly points: readonly PlotPoint[];
}

const [width, height] = [720, 420];
const margin = { left: 72, right: 24, top: 24, bottom: 56 };
const ratioTicks = [1, 2, 5, 10, 20, 50, 100, 200, 500];
const mostGapTicks = 8;
const [capWidth, radius, labelGap] = [4, 3.5, 8];

export function frontierPlot(series: readonly PlotSeries[]): string {
  const points = series.flatMap((one) => one.points);
  const ratios = ticksUpTo(Math.max(2, ...points.map(({ ratio }) => ratio)));
  const gaps = gapTicks(points);
  const x = (ratio: number) => {
    const share = Math.log(ratio / (ratios[0] ?? 1)) / Math.log((ratios.at(-1) ?? 1) / (ratios[0] ?? 1));
    return round(margin.left + share * (width - margin.left - margin.right));
  };
  const y = (gap: number) => {
    const [lowest = 0, highest = 1] = [gaps[0], gaps.at(-1)];
    return round(
      height - margin.bottom - ((gap - lowest) / (highest - lowest)) * (height - margin.top - margin.bottom),
    );
  };
  const [left, right, top, bottom] = [margin.left, width - margin.right, margin.top, height - margin.bottom];
  const grid = [
    ...ratios.map((ratio) => line("grid", [x(ratio), top], [x(ratio), bottom])),
    ...gaps.map((gap) => line(gap === 0 ? "axis" : "grid", [left, y(gap)], [right, y(gap)])),
    ...ratios.map((ratio) => text("tick", [x(ratio), bottom + 18], `${ratio}×`, "middle")),
    ...gaps.map((gap) => text("tick", [left - 8, y(gap) + 4], signed(gap), "end")),
    text("title", [(left + right) / 2, height - 12], "fewer bytes in merges than f32", "middle"),
    `<text class="title" text-anchor="middle" transform="translate(16 ${(top + bottom) / 2}) rotate(-90)">loss, % above uncompressed merges</text>`,
  ];
  const drawn = series.flatMap(({ name, points }, index) => [
    `<g class="series${index}">`,
    `<polyline points="${points.map(({ ratio, gap }) => `${x(ratio)},${y(gap.mean)}`).join(" ")}"/>`,
    ...points.flatMap(({ label, ratio, gap }) => [
      line("bar", [x(ratio), y(gap.lowest)], [x(ratio), y(gap.highest)]),
      ...[gap.lowest, gap.highest].map((end) =>
        line("bar", [x(ratio) - capWidth, y(end)], [x(ratio) + capWidth, y(end)]),
      ),
      `<circle cx="${x(ratio)}" cy="${y(gap.mean)}" r="${radius}"/>`,
      ...(index === 0 ? [text("label", [x(ratio), y(gap.highest) - labelGap], label, "middle")] : []),
    ]),
    text("legend", [left + 12, top + 16 + 18 * index], `● ${name}`, "start"),
    "</g>",
  ]);
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    "<title>What each codec saves next to f32, and what it costs of the loss</title>",
    `<style>${style}</style>`,
    `<rect class="page" width="${width}" height="${height}"/>`,
    ...grid,
    ...drawn,
    "</svg>",
  ].join("\n")}\n`;
}

const style = `
.page { fill: #ffffff } text { fill: #1f2328 } .grid { stroke: #d8dee4 } .axis { stroke: #59636e }
polyline { fill: none; stroke-width: 1.5 } .legend { font-weight: 600 }
.series0 { --ink: #0b62c4 } .series1 { --ink: #b3400f }
.series0, .series1 { stroke: none } .series0 circle, .series1 circle, .series0 .legend, .series1 .legend { fill: var(--ink) }
.series0 polyline, .series1 polyline, .series0 .bar, .series1 .bar { stroke: var(--ink) }
@media (prefers-color-scheme: dark) {
.page { fill: #0d1117 } text { fill: #e6edf3 } .grid { stroke: #30363d } .axis { stroke: #9198a1 }
.series0 { --ink: #6cb6ff } .series1 { --ink: #ffa657 }
}
`;

/** Up to the first that is no less. */
function ticksUpTo(most: number): readonly number[] {
  const enough = ratioTicks.findIndex((tick) => tick >= most);
  return enough === -1 ? [...ratioTicks, most] : ratioTicks.slice(0, enough + 1);
}

/** Round numbers around all error bars and zero. */
function gapTicks(points: readonly PlotPoint[]): readonly number[] {
  const lowest = Math.min(0, ...points.map(({ gap }) => gap.lowest));
  const highest = Math.max(1, ...points.map(({ gap }) => gap.highest));
  const step = [0.5, 1, 2, 5, 10, 20, 50].find((one) => (highest - lowest) / one < mostGapTicks) ?? highest;
  const first = Math.floor(lowest / step);
  return Array.from({ length: Math.ceil(highest / step) - first + 1 }, (_, index) => (first + index) * step);
}

type Place = readonly [x: number, y: number];

function line(name: string, [x1, y1]: Place, [x2, y2]: Place): string {
  return `<line class="${name}" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/>`;
}

function text(name: string, [x, y]: Place, content: string, anchor: "start" | "middle" | "end"): string {
  return `<text class="${name}" x="${x}" y="${y}" text-anchor="${anchor}">${content}</text>`;
}

function signed(value: number): string {
  return value > 0 ? `+${value}` : `${value}`.replace("-", "−");
}

function round(value: number): number {
  return Math.round(10 * value) / 10;
}
