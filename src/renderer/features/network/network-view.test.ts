import { expect, test } from "vitest";
import { fakeNetwork } from "../../../../test/e2e/fixtures/fake-network.ts";
import { layoutNetwork } from "./layout.ts";
import { epochFraction, minerCounts, runTokensPerSecond, shownState, stageContent } from "./network-view.ts";
import { sceneOf } from "./scene.ts";

const { state } = fakeNetwork({ stages: 3, replicas: 2, epochs: 2 });
const { run, telemetry, machine } = state;
if (!run || !telemetry) throw new Error("the fake network has a run");
const own = { minerId: machine.minerId, paused: false };

test("a token counts once for the run's speed, though every stage works on it", () => {
  const miners = ["a", "b", "c"].map((letter) => ({
    minerId: letter.repeat(64) as typeof machine.minerId,
    tokensPerSecond: 100,
    microbatchesInFlight: 0,
    memoryBytes: 0,
  }));
  expect(runTokensPerSecond(run.stages, { ...telemetry, miners })).toBe(100);
});

test("a machine that holds several stages is counted once, and a lost one not at all", () => {
  const replica = (minerId: string, as: "training" | "lost") => ({
    minerId: minerId.repeat(64) as typeof machine.minerId,
    name: minerId,
    state: as,
  });
  const stage = { ...run.stages[0], index: 0, fromLayer: 0, toLayer: 1, parameters: 1 };
  const stages = [
    { ...stage, replicas: [replica("a", "training"), replica("b", "lost")] },
    { ...stage, replicas: [replica("a", "training")] },
  ];
  expect(minerCounts(stages)).toEqual({ miners: 1, training: 1 });
});

test("an epoch is as far as its microbatches, and full while it is merged", () => {
  expect(epochFraction(run, { ...telemetry, microbatchesDone: 16, microbatchesPlanned: 64 })).toBe(0.25);
  expect(epochFraction(run, null)).toBe(0);
  expect(epochFraction({ ...run, phase: "merging" }, null)).toBe(1);
});

test("layers are counted from one, and the ends of the model are named", () => {
  expect(run.stages.map((stage) => stageContent(stage, 3))).toEqual([
    "layers 1–2, embedding",
    "layers 3–4",
    "layers 5–6, output head",
  ]);
});

test("a machine whose person paused it is shown as paused and not as lost; another one's loss stays a loss", () => {
  const lost = { minerId: own.minerId, name: "kitchen-laptop", state: "lost" as const };
  const other = { ...lost, minerId: "f".repeat(64) as typeof own.minerId };
  expect(shownState(lost, { ...own, paused: true })).toBe("paused");
  expect(shownState(lost, own)).toBe("lost");
  expect(shownState(other, { ...own, paused: true })).toBe("lost");
});

test("the scene marks this machine and links only replicas that train", () => {
  const layout = layoutNetwork({
    width: 1080,
    height: 340,
    replicas: run.stages.map(({ replicas }) => replicas.length),
  });
  const scene = sceneOf(layout, run.stages, telemetry, own);
  const occupants = layout.columns.flatMap(({ places }) => places.map((place) => scene.occupantOf(place)));
  expect(occupants.filter((occupant) => occupant?.own).map((occupant) => occupant?.name)).toEqual(["kitchen-laptop"]);
  const training = run.stages.map(({ replicas }) => replicas.filter((replica) => replica.state === "training").length);
  const [first = 0, second = 0, third = 0] = training;
  expect(scene.links).toHaveLength(2 * (first * second + second * third));
});
