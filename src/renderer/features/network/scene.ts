/** From the run and its telemetry to what `paint.ts` draws. Pure. */
import type { ReplicaView, RunView, Telemetry } from "../../../protocol/run-view.ts";
import { format, strings } from "../../strings/strings.ts";
import type { NetworkLayout, Place } from "./layout.ts";
import { type OwnMachine, shownState, stageContent, stageTitle, telemetryByMiner } from "./network-view.ts";
import type { Link, Occupant, Scene } from "./paint.ts";
import { pathBetween } from "./traffic.ts";

/** More links than this between two columns are a smear, not information. */
const mostLinks = 64;

/** `stages` must be those that `layout` was made for. */
export function sceneOf(
  layout: NetworkLayout,
  stages: RunView["stages"],
  telemetry: Telemetry | null,
  own: OwnMachine,
): Scene {
  const texts = strings.network;
  const miners = telemetryByMiner(telemetry);
  const fastest = Math.max(1, ...[...miners.values()].map(({ tokensPerSecond }) => tokensPerSecond));
  const occupantOf = (place: Place): Occupant | undefined => {
    const replica = replicaAt(stages, place);
    if (!replica) return undefined;
    const speed = miners.get(replica.minerId)?.tokensPerSecond ?? 0;
    const state = shownState(replica, own);
    return {
      name: replica.name,
      state,
      own: replica.minerId === own.minerId,
      detail: state === "training" ? texts.speed(format.count(speed)) : texts.states[state],
      brightness: speed / fastest,
    };
  };
  const headings = stages.map((stage) => ({
    title:
      layout.columns.length > 8
        ? texts.stageShort(format.count(stage.index + 1))
        : stageTitle(stage.index, stages.length),
    content: stageContent(stage, stages.length),
    empty: stage.replicas.length === 0 ? texts.empty : null,
  }));
  return { layout, headings, occupantOf, links: linksOf(layout, occupantOf), thisMachine: texts.thisMachine };
}

export function replicaAt(stages: RunView["stages"], place: Place): ReplicaView | undefined {
  return stages[place.stage]?.replicas[place.replica];
}

function linksOf(layout: NetworkLayout, occupantOf: (place: Place) => Occupant | undefined): Link[] {
  const links: Link[] = [];
  layout.columns.forEach((column, index) => {
    const next = layout.columns[index + 1];
    if (!next || column.places.length * next.places.length > mostLinks) return;
    for (const from of column.places)
      for (const to of next.places) {
        const ends = [occupantOf(from), occupantOf(to)];
        if (!ends.every((occupant) => occupant?.state === "training")) continue;
        const own = ends.some((occupant) => occupant?.own);
        links.push({ path: pathBetween(from, to), own }, { path: pathBetween(to, from), own });
      }
  });
  return links;
}
