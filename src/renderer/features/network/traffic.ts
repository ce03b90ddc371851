/**
 * Microbatches on their way, as the eye sees them. Telemetry says how many messages went from whom to whom since the last one;
 * here they are spread over the time until the next, so that motion is even. Pure; time and randomness come in.
 */
import type { MinerId } from "../../../protocol/ids.ts";
import type { Telemetry } from "../../../protocol/run-view.ts";
import type { Place } from "./layout.ts";

type Flow = Telemetry["flows"][number];

export interface Mover {
  readonly kind: Flow["kind"];
  readonly from: Place;
  readonly to: Place;
  readonly startMs: number;
  /** To or from this machine. */
  readonly own: boolean;
}

/** How long one takes from window to window. */
export const travelMs = 900;

/** Which windows belong to a miner; more than one where it holds several stages. */
export type PlacesOfMiner = ReadonlyMap<MinerId, readonly Place[]>;

export interface Schedule {
  readonly nowMs: number;
  /** Until the next telemetry is expected. */
  readonly intervalMs: number;
  /** Most movers to make; above it, a fair sample of the messages is shown. */
  readonly most: number;
  readonly ownId: MinerId;
  readonly random: () => number;
}

export function scheduleMovers(flows: readonly Flow[], places: PlacesOfMiner, schedule: Schedule): Mover[] {
  const total = flows.reduce((sum, flow) => sum + flow.messages, 0);
  const keep = total <= schedule.most ? 1 : schedule.most / total;
  const movers: Mover[] = [];
  for (const flow of flows) {
    const ends = endsOf(flow, places);
    if (!ends) continue;
    const exact = flow.messages * keep;
    const shown = Math.floor(exact) + (schedule.random() < exact % 1 ? 1 : 0);
    const phase = schedule.random();
    for (let index = 0; index < shown; index++) {
      movers.push({
        kind: flow.kind,
        from: ends.from,
        to: ends.to,
        startMs: schedule.nowMs + ((index + phase) / shown) * schedule.intervalMs,
        own: flow.from === schedule.ownId || flow.to === schedule.ownId,
      });
    }
  }
  return movers;
}

/** Forward goes to the next stage, backward to the one before; a miner with several stages uses the pair that fits. */
function endsOf(flow: Flow, places: PlacesOfMiner): { from: Place; to: Place } | undefined {
  const step = flow.kind === "forward" ? 1 : -1;
  for (const from of places.get(flow.from) ?? [])
    for (const to of places.get(flow.to) ?? []) if (to.stage === from.stage + step) return { from, to };
  return undefined;
}

/** How far a mover has come, 0 … 1 with a soft start and end; undefined before and after its journey. */
export function progressOf(mover: Mover, nowMs: number): number | undefined {
  const part = (nowMs - mover.startMs) / travelMs;
  if (part < 0 || part > 1) return undefined;
  return part * part * (3 - 2 * part);
}

export function isOver(mover: Mover, nowMs: number): boolean {
  return nowMs > mover.startMs + travelMs;
}

export interface Path {
  readonly fromX: number;
  readonly fromY: number;
  readonly toX: number;
  readonly toY: number;
}

/** Between the facing edges of two stages, each at the height of the window; forward keeps to the upper lane, backward to the lower. */
export function pathBetween(from: Place, to: Place): Path {
  const rightwards = to.x > from.x;
  const lane = Math.min(6, from.height / 4) * (rightwards ? -1 : 1);
  return {
    fromX: rightwards ? from.right : from.left,
    fromY: from.y + from.height / 2 + lane,
    toX: rightwards ? to.left : to.right,
    toY: to.y + to.height / 2 + lane,
  };
}

/** A point on the path's curve, which leaves and arrives horizontally (cubic Bézier), at `part` 0 … 1. */
export function pointOn({ fromX, fromY, toX, toY }: Path, part: number): readonly [x: number, y: number] {
  const middle = (fromX + toX) / 2;
  const rest = 1 - part;
  const outer = rest ** 3;
  const near = 3 * rest * rest * part;
  const far = 3 * rest * part * part;
  const end = part ** 3;
  return [outer * fromX + (near + far) * middle + end * toX, (outer + near) * fromY + (far + end) * toY];
}
