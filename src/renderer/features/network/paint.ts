/** Draws the network view. Everything is said by its arguments; colours come from the style sheet. */

import { type Palette, withAlpha } from "../../components/palette.ts";
import { headingHeight, type NetworkLayout, type Place } from "./layout.ts";
import type { ShownState } from "./network-view.ts";
import { type Mover, type Path, pathBetween, pointOn, progressOf } from "./traffic.ts";

export interface Occupant {
  readonly name: string;
  readonly state: ShownState;
  readonly own: boolean;
  /** Second line of a tile. */
  readonly detail: string;
  /** How busy, 0 … 1: how brightly its window is lit. */
  readonly brightness: number;
}

export interface Link {
  readonly path: Path;
  readonly own: boolean;
}

export interface Scene {
  readonly layout: NetworkLayout;
  readonly headings: readonly { readonly title: string; readonly content: string; readonly empty: string | null }[];
  readonly occupantOf: (place: Place) => Occupant | undefined;
  /** Faint lines where microbatches may travel; none in a crowd. */
  readonly links: readonly Link[];
  readonly thisMachine: string;
}

/** CSS pixels; the context is scaled by the caller. */
export function paintScene(context: CanvasRenderingContext2D, scene: Scene, palette: Palette, font: string): void {
  context.lineWidth = 1;
  for (const { path, own } of scene.links) {
    context.strokeStyle = own ? withAlpha(palette.own, 0.35) : palette.line;
    tracePath(context, path);
    context.stroke();
  }
  for (const column of scene.layout.columns) {
    const heading = scene.headings[column.stage];
    if (heading) paintHeading(context, heading, column.centre, column.width, palette, font);
    for (const place of column.places) {
      const occupant = scene.occupantOf(place);
      if (!occupant) continue;
      if (scene.layout.mode === "tile") paintTile(context, place, occupant, palette, font, scene.thisMachine);
      else paintWindow(context, place, occupant, palette);
    }
  }
  if (scene.layout.mode === "window") markOwn(context, scene, palette, font);
}

function tracePath(context: CanvasRenderingContext2D, { fromX, fromY, toX, toY }: Path): void {
  const middle = (fromX + toX) / 2;
  context.beginPath();
  context.moveTo(fromX, fromY);
  context.bezierCurveTo(middle, fromY, middle, toY, toX, toY);
}

function paintHeading(
  context: CanvasRenderingContext2D,
  heading: Scene["headings"][number],
  centre: number,
  width: number,
  palette: Palette,
  font: string,
): void {
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  context.fillStyle = palette.ink;
  context.font = `600 13px ${font}`;
  context.fillText(fitted(context, heading.title, width - 4), centre, 17);
  context.fillStyle = palette["ink-3"];
  context.font = `12px ${font}`;
  context.fillText(fitted(context, heading.content, width - 4), centre, 34);
  if (heading.empty) {
    context.fillStyle = palette.attention;
    context.fillText(fitted(context, heading.empty, width - 4), centre, headingHeight + 28);
  }
}

function paintTile(
  context: CanvasRenderingContext2D,
  place: Place,
  occupant: Occupant,
  palette: Palette,
  font: string,
  thisMachine: string,
): void {
  const { own, state } = occupant;
  const { x, y, width, height } = place;
  rounded(context, place, 6);
  context.fillStyle = palette.raised;
  context.fill();
  const edge = state === "lost" ? palette.attention : own ? palette.own : palette["ink-3"];
  context.strokeStyle = state === "training" || own ? edge : withAlpha(edge, 0.6);
  context.lineWidth = own ? 2 : 1;
  context.setLineDash(state === "training" || state === "preparing" ? [] : [4, 4]);
  context.stroke();
  context.setLineDash([]);

  // The lit pane at the left: a window whose light tells how busy the machine is.
  const pane = { x: x + 9, y: y + 9, width: Math.min(14, width / 8), height: height - 18 };
  rounded(context, pane, 2);
  paintLight(context, occupant, palette);

  const left = pane.x + pane.width + 9;
  const room = x + width - left - 8;
  const lines = own ? 3 : 2;
  const step = Math.min(17, (height - 12) / lines);
  let baseline = y + height / 2 - ((lines - 1) * step) / 2 + 4;
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  context.font = `600 12.5px ${font}`;
  context.fillStyle = state === "lost" ? palette["ink-2"] : palette.ink;
  context.fillText(fitted(context, occupant.name, room), left, baseline);
  context.font = `12px ${font}`;
  if (own) {
    baseline += step;
    context.fillStyle = palette.own;
    context.fillText(fitted(context, thisMachine, room), left, baseline);
  }
  baseline += step;
  context.fillStyle = state === "lost" ? palette.attention : palette["ink-2"];
  context.fillText(fitted(context, occupant.detail, room), left, baseline);
}

function paintWindow(context: CanvasRenderingContext2D, place: Place, occupant: Occupant, palette: Palette): void {
  rounded(context, place, Math.min(3, place.width / 5));
  paintLight(context, occupant, palette);
  if (occupant.state !== "lost" || place.width < 4) return;
  context.strokeStyle = palette.attention;
  context.beginPath();
  context.moveTo(place.x, place.y + place.height);
  context.lineTo(place.x + place.width, place.y);
  context.stroke();
}

/** Fills or outlines the current path by the replica's state. */
function paintLight(context: CanvasRenderingContext2D, occupant: Occupant, palette: Palette): void {
  const colour = occupant.own ? palette["own-fill"] : palette.lit;
  if (occupant.state === "training") {
    context.fillStyle = withAlpha(colour, 0.3 + 0.7 * occupant.brightness);
    context.fill();
    return;
  }
  context.fillStyle = withAlpha(colour, occupant.state === "preparing" ? 0.2 : 0.06);
  context.fill();
  context.lineWidth = 1;
  context.strokeStyle = withAlpha(occupant.state === "lost" ? palette.attention : colour, 0.8);
  context.stroke();
}

/** In a crowd of windows this machine gets a ring and its name. */
function markOwn(context: CanvasRenderingContext2D, scene: Scene, palette: Palette, font: string): void {
  for (const column of scene.layout.columns)
    for (const place of column.places) {
      if (!scene.occupantOf(place)?.own) continue;
      const ring = { x: place.x - 3, y: place.y - 3, width: place.width + 6, height: place.height + 6 };
      rounded(context, ring, 4);
      context.strokeStyle = palette.own;
      context.lineWidth = 2;
      context.stroke();
      context.font = `600 12px ${font}`;
      const half = context.measureText(scene.thisMachine).width / 2 + 5;
      const centre = place.x + place.width / 2;
      const above = place.y - 26 > headingHeight;
      const top = above ? place.y - 25 : place.y + place.height + 7;
      rounded(context, { x: centre - half, y: top, width: 2 * half, height: 18 }, 4);
      context.fillStyle = palette["own-fill"];
      context.fill();
      context.fillStyle = palette["on-own"];
      context.textAlign = "center";
      context.textBaseline = "alphabetic";
      context.fillText(scene.thisMachine, centre, top + 13);
    }
}

/** Forward ones are filled, backward ones are rings. */
export function paintMovers(
  context: CanvasRenderingContext2D,
  movers: readonly Mover[],
  nowMs: number,
  palette: Palette,
  radius: number,
): void {
  for (const mover of movers) {
    const part = progressOf(mover, nowMs);
    if (part === undefined) continue;
    const [x, y] = pointOn(pathBetween(mover.from, mover.to), part);
    const colour = mover.own ? palette.own : palette.ink;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    if (mover.kind === "forward") {
      context.fillStyle = colour;
      context.fill();
    } else {
      context.fillStyle = palette.paper;
      context.fill();
      context.strokeStyle = colour;
      context.lineWidth = 1.4;
      context.stroke();
    }
  }
}

function rounded(
  context: CanvasRenderingContext2D,
  { x, y, width, height }: Pick<Place, "x" | "y" | "width" | "height">,
  radius: number,
): void {
  context.beginPath();
  context.roundRect(x, y, width, height, radius);
}

/** Cuts a text to the room there is. */
function fitted(context: CanvasRenderingContext2D, text: string, room: number): string {
  if (context.measureText(text).width <= room) return text;
  let end = text.length;
  while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > room) end--;
  return end <= 1 ? "" : `${text.slice(0, end)}…`;
}
