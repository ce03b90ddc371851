import { type PointerEvent, useEffect, useMemo, useRef, useState } from "react";
import type { MinerId } from "../../../protocol/ids.ts";
import type { RunView, Telemetry } from "../../../protocol/run-view.ts";
import { useElementSize } from "../../components/element-size.ts";
import { useMediaQuery } from "../../components/media-query.ts";
import { usePalette } from "../../components/palette.ts";
import { format, strings } from "../../strings/strings.ts";
import { layoutNetwork, type Place, placeAt } from "./layout.ts";
import { minerCounts, type OwnMachine, shownState, stageTitle, telemetryByMiner } from "./network-view.ts";
import { paintMovers, paintScene } from "./paint.ts";
import { replicaAt, sceneOf } from "./scene.ts";
import { isOver, type Mover, scheduleMovers } from "./traffic.ts";

interface NetworkCanvasProps {
  readonly stages: RunView["stages"];
  readonly telemetry: Telemetry | null;
  readonly own: OwnMachine;
}

/** On screen at once. Above it a fair sample is drawn. */
const mostMovers = 400;
const longestIntervalMs = 2_000;

export function NetworkCanvas({ stages, telemetry, own }: NetworkCanvasProps) {
  const frame = useRef<HTMLDivElement>(null);
  const still = useRef<HTMLCanvasElement>(null);
  const moving = useRef<HTMLCanvasElement>(null);
  const size = useElementSize(frame);
  const palette = usePalette();
  const calm = useMediaQuery("(prefers-reduced-motion: reduce)");
  const [hovered, setHovered] = useState<Place | null>(null);

  // Only the counts shape the layout: it stays while names, states and figures change.
  const counts = stages.map(({ replicas }) => replicas.length).join();
  const layout = useMemo(
    () => (size ? layoutNetwork({ ...size, replicas: counts === "" ? [] : counts.split(",").map(Number) }) : null),
    [size, counts],
  );
  const scene = useMemo(
    () => (layout ? sceneOf(layout, stages, telemetry, own) : null),
    [layout, stages, telemetry, own],
  );

  useEffect(() => {
    const context = size && sized(still.current, size);
    if (context && scene) paintScene(context, scene, palette, fontOf(frame.current));
  }, [size, scene, palette]);

  const movers = useRef<readonly Mover[]>([]);
  const animate = useRef<(() => void) | null>(null);
  const lastTelemetryMs = useRef(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: one schedule for each telemetry, whatever else changes
  useEffect(() => {
    if (!telemetry || !layout || calm) return;
    const nowMs = performance.now();
    const intervalMs = Math.min(longestIntervalMs, nowMs - lastTelemetryMs.current);
    lastTelemetryMs.current = nowMs;
    const places = new Map<MinerId, Place[]>();
    for (const { places: own } of layout.columns)
      for (const place of own) {
        const minerId = replicaAt(stages, place)?.minerId;
        if (minerId) places.set(minerId, [...(places.get(minerId) ?? []), place]);
      }
    const more = scheduleMovers(telemetry.flows, places, {
      nowMs,
      intervalMs,
      most: mostMovers,
      ownId: own.minerId,
      random: Math.random,
    });
    movers.current = [...movers.current.filter((mover) => !isOver(mover, nowMs)), ...more];
    animate.current?.();
  }, [telemetry]);

  useEffect(() => {
    movers.current = [];
    const context = size && sized(moving.current, size);
    if (!context || !layout || calm) return;
    const radius = layout.mode === "tile" ? 3.2 : 2.2;
    let request: number | undefined;
    const draw = (nowMs: number) => {
      movers.current = movers.current.filter((mover) => !isOver(mover, nowMs));
      context.clearRect(0, 0, size.width, size.height);
      paintMovers(context, movers.current, nowMs, palette, radius);
      request = movers.current.length > 0 ? requestAnimationFrame(draw) : undefined;
    };
    // Frames are drawn only while something moves: a page that stands still costs nothing.
    animate.current = () => {
      request ??= requestAnimationFrame(draw);
    };
    return () => {
      animate.current = null;
      if (request !== undefined) cancelAnimationFrame(request);
    };
  }, [size, layout, palette, calm]);

  const hover = (event: PointerEvent<HTMLDivElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    setHovered((layout && placeAt(layout, event.clientX - box.left, event.clientY - box.top)) ?? null);
  };
  const { miners, training } = minerCounts(stages);
  return (
    <div
      ref={frame}
      className="network-frame"
      role="img"
      aria-label={strings.network.summary(stages.length, miners, training)}
      onPointerMove={hover}
      onPointerLeave={() => setHovered(null)}
    >
      <canvas ref={still} />
      <canvas ref={moving} />
      {hovered && size && (
        <HoverCard place={hovered} stages={stages} telemetry={telemetry} own={own} width={size.width} />
      )}
    </div>
  );
}

interface HoverCardProps extends NetworkCanvasProps {
  readonly place: Place;
  readonly width: number;
}

function HoverCard({ place, stages, telemetry, own, width }: HoverCardProps) {
  const replica = replicaAt(stages, place);
  if (!replica) return null;
  const texts = strings.network;
  const figures = telemetryByMiner(telemetry).get(replica.minerId);
  const cardWidth = 210;
  const left = Math.min(Math.max(0, place.x + place.width / 2 - cardWidth / 2), Math.max(0, width - cardWidth));
  return (
    <div className="hover-card" style={{ left, top: place.y + place.height + 8, width: cardWidth }}>
      <strong>{replica.minerId === own.minerId ? texts.isThisMachine(replica.name) : replica.name}</strong>
      <span>{stageTitle(place.stage, stages.length)}</span>
      <span>{texts.states[shownState(replica, own)]}</span>
      {figures && (
        <>
          <span>{texts.speed(format.count(figures.tokensPerSecond))}</span>
          <span>{texts.inFlight(format.count(figures.microbatchesInFlight))}</span>
          <span>{format.bytes(figures.memoryBytes)}</span>
        </>
      )}
    </div>
  );
}

function fontOf(element: HTMLElement | null): string {
  return element ? getComputedStyle(element).fontFamily : "sans-serif";
}

/** Sizes a canvas for the screen's pixels, clears it, and scales its context to CSS pixels. */
function sized(
  canvas: HTMLCanvasElement | null,
  size: { width: number; height: number },
): CanvasRenderingContext2D | null {
  const context = canvas?.getContext("2d");
  if (!canvas || !context) return null;
  const scale = Math.min(3, window.devicePixelRatio || 1);
  canvas.width = Math.round(size.width * scale);
  canvas.height = Math.round(size.height * scale);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  return context;
}
