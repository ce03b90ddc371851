/**
 * Where the network view puts things: stages are columns, replicas are windows in them. A few replicas become labelled tiles;
 * many become a grid of small windows that always fits, up to thousands. Pure geometry in CSS pixels.
 */

export interface Place {
  /** Index into the replicas of its stage. */
  readonly replica: number;
  readonly stage: number;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  /** Where microbatches arrive and leave: the edges of the stage's block, so that they never cross other windows. */
  readonly left: number;
  readonly right: number;
}

interface Column {
  readonly stage: number;
  readonly centre: number;
  /** What the heading may take. */
  readonly width: number;
  readonly places: readonly Place[];
}

export interface NetworkLayout {
  /** `tile`: room for a name and a figure in each; `window`: only a light. */
  readonly mode: "tile" | "window";
  readonly columns: readonly Column[];
}

export interface LayoutRequest {
  readonly width: number;
  readonly height: number;
  /** Replicas of each stage, first stage first. */
  readonly replicas: readonly number[];
}

export const headingHeight = 46;
const margin = 14;
const tileGap = { least: 10, most: 36 };
const tileWidth = { least: 104, most: 232 };
const tileHeight = { least: 44, most: 104 };
const largestWindow = 36;
/** Of a column's pitch: the rest is the channel in which microbatches travel. */
const tileShare = 0.6;
const windowShare = 0.62;

export function layoutNetwork({ width, height, replicas }: LayoutRequest): NetworkLayout {
  const count = Math.max(1, replicas.length);
  const pitch = (width - 2 * margin) / count;
  const free = Math.max(1, height - headingHeight - margin);
  const most = Math.max(1, ...replicas);
  const tile = {
    width: Math.min(tileWidth.most, pitch * tileShare),
    height: Math.min(tileHeight.most, (free - (most - 1) * tileGap.least) / most),
  };
  const mode = tile.width >= tileWidth.least && tile.height >= tileHeight.least ? "tile" : "window";
  // What is left over goes between the tiles, as much as around them.
  const gap = Math.min(tileGap.most, Math.max(tileGap.least, (free - most * tile.height) / (most + 1)));
  const columns = replicas.map((own, stage): Column => {
    const centre = margin + pitch * (stage + 0.5);
    const places =
      mode === "tile"
        ? tiles(stage, own, centre, free, { ...tile, gap })
        : windows(stage, own, centre, { width: Math.max(6, pitch * windowShare), height: free });
    return { stage, centre, width: pitch, places };
  });
  return { mode, columns };
}

function tiles(
  stage: number,
  own: number,
  centre: number,
  free: number,
  tile: { readonly width: number; readonly height: number; readonly gap: number },
): Place[] {
  const step = tile.height + tile.gap;
  const top = headingHeight + (free - (own * step - tile.gap)) / 2;
  return Array.from({ length: own }, (_, replica) => ({
    replica,
    stage,
    x: centre - tile.width / 2,
    y: top + replica * step,
    width: tile.width,
    height: tile.height,
    left: centre - tile.width / 2,
    right: centre + tile.width / 2,
  }));
}

function windows(stage: number, own: number, centre: number, area: { width: number; height: number }): Place[] {
  const cell = largestCell(own, area.width, area.height);
  // As many in a row as gives the block its area's proportions, unless the rows would not fit.
  const rowsThatFit = Math.max(1, Math.floor(area.height / cell));
  const perRow = Math.max(Math.ceil(Math.sqrt((own * area.width) / area.height)), Math.ceil(own / rowsThatFit));
  const across = Math.min(own, perRow);
  const rows = Math.ceil(own / perRow);
  const left = centre - (across * cell) / 2;
  const top = headingHeight + (area.height - rows * cell) / 2;
  const size = cell * 0.7;
  const inset = (cell - size) / 2;
  return Array.from({ length: own }, (_, replica) => ({
    replica,
    stage,
    x: left + (replica % perRow) * cell + inset,
    y: top + Math.floor(replica / perRow) * cell + inset,
    width: size,
    height: size,
    left: left - inset,
    right: left + across * cell + inset,
  }));
}

/** The largest square cell of which `count` fit into the area. */
function largestCell(count: number, width: number, height: number): number {
  const fits = (cell: number) => Math.floor(width / cell) * Math.floor(height / cell) >= count;
  let low = 0;
  let high = Math.min(largestWindow, width, height);
  if (fits(high)) return high;
  for (let round = 0; round < 24; round++) {
    const middle = (low + high) / 2;
    if (fits(middle)) low = middle;
    else high = middle;
  }
  return low;
}

/** The place under a point, with a little room around it; undefined where there is none. */
export function placeAt(layout: NetworkLayout, x: number, y: number): Place | undefined {
  const slack = layout.mode === "tile" ? 0 : 2;
  for (const column of layout.columns) {
    if (Math.abs(x - column.centre) > column.width / 2) continue;
    return column.places.find(
      (place) =>
        x >= place.x - slack &&
        x <= place.x + place.width + slack &&
        y >= place.y - slack &&
        y <= place.y + place.height + slack,
    );
  }
  return undefined;
}
