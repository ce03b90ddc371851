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
}

export interface Column {
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
const tileGap = 12;
const tileWidth = { least: 104, most: 210 };
const tileHeight = { least: 44, most: 84 };
const largestWindow = 30;
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
    height: Math.min(tileHeight.most, (free - (most - 1) * tileGap) / most),
  };
  const mode = tile.width >= tileWidth.least && tile.height >= tileHeight.least ? "tile" : "window";
  const columns = replicas.map((own, stage): Column => {
    const centre = margin + pitch * (stage + 0.5);
    const places =
      mode === "tile"
        ? tiles(stage, own, centre, free, tile)
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
  tile: { width: number; height: number },
): Place[] {
  const total = own * tile.height + (own - 1) * tileGap;
  const top = headingHeight + (free - total) / 2;
  return Array.from({ length: own }, (_, replica) => ({
    replica,
    stage,
    x: centre - tile.width / 2,
    y: top + replica * (tile.height + tileGap),
    width: tile.width,
    height: tile.height,
  }));
}

function windows(stage: number, own: number, centre: number, area: { width: number; height: number }): Place[] {
  const cell = largestCell(own, area.width, area.height);
  const perRow = Math.max(1, Math.floor(area.width / cell));
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
