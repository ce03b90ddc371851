import { describe, expect, it } from "vitest";
import type { BoundaryHealth } from "../../../protocol/client-messages.ts";
import type { BoundaryFormats } from "../../../protocol/run-config.ts";
import { FakeSwarm, fakeDefinition } from "./fake-swarm.ts";
import { viewOf } from "./view.ts";

const { training } = fakeDefinition();
const sound: BoundaryHealth = { rms: 1, relativeError: 0.01 };

/** Two stages, two replicas each, of which the first stage's say the same of their boundary. */
class Run {
  readonly swarm: FakeSwarm;

  constructor(boundary: BoundaryFormats = { forward: "int4", backward: "int2" }) {
    const compression = { ...training.compression, boundary };
    this.swarm = new FakeSwarm(fakeDefinition({ stages: 2, training: { ...training, compression } }));
    this.swarm.join(1, 2, 3, 4);
  }

  epoch(...healths: readonly BoundaryHealth[]): void {
    const { swarm } = this;
    swarm.reach("uploading");
    const [first = []] = swarm.state.replicas;
    for (const [index, { minerId }] of first.entries()) {
      const report = swarm.report(Number.parseInt(minerId, 16), "contributed");
      swarm.say(minerId, { ...report, boundary: healths[index] ?? healths[0] ?? null });
    }
    swarm.finishEpoch();
  }

  epochs(count: number, health: BoundaryHealth = sound): void {
    for (let epoch = 0; epoch < count; epoch++) this.epoch(health);
  }

  get view() {
    return viewOf(this.swarm.state);
  }

  get formats() {
    return this.swarm.state.boundaryWatch.formats;
  }
}

describe("a stage boundary", () => {
  it("is shown with what crossed it", () => {
    const run = new Run();
    run.epochs(1);
    expect(run.view).toMatchObject({
      boundaryFormats: { forward: "int4", backward: "int2" },
      boundaries: [{ stage: 0, ...sound }],
      alarms: [],
    });
  });

  it("raises an alarm when its norm runs away, after which both directions send more bits", () => {
    const run = new Run();
    run.epochs(6);
    run.epoch({ ...sound, rms: 5 });
    expect(run.view.alarms).toMatchObject([{ stage: 0, epoch: 6, kind: "runaway" }]);
    expect(run.formats).toEqual({ forward: "int8", backward: "int4" });
    run.swarm.reach("training");
    expect(run.swarm.sent("start").at(-1)?.message.boundary).toEqual(run.formats);
    expect(run.swarm.state.log.map(({ text }) => text)).toContain(
      "Stage 1 of 2: the norm of what it sends on runs away.",
    );
  });

  it("raises none while a run starts up, grows steadily or scatters", () => {
    const starting = new Run();
    for (const rms of [0.1, 1, 5, 8]) starting.epoch({ ...sound, rms });
    const growing = new Run();
    for (let epoch = 0; epoch < 12; epoch++) growing.epoch({ ...sound, rms: 1.15 ** epoch });
    const scattering = new Run();
    for (const rms of [1, 1.3, 0.8, 1.1, 0.9, 1.7, 1, 2.5]) scattering.epoch({ ...sound, rms });
    for (const run of [starting, growing, scattering]) expect(run.view.alarms).toEqual([]);
  });

  it("sends more bits forward only when too much is rounded away there", () => {
    const run = new Run();
    run.epoch({ rms: 1, relativeError: 0.5 });
    expect(run.view.alarms).toMatchObject([{ kind: "rounding" }]);
    expect(run.formats).toEqual({ forward: "int8", backward: "int2" });
  });

  it("raises an alarm at once when values are too large to be rounded", () => {
    const run = new Run();
    run.epoch({ rms: 1e15, relativeError: 0 });
    expect(run.view.alarms).toMatchObject([{ kind: "not-finite" }]);
  });

  it("never sends more than bf16 because of alarms, nor less than f32 where that was asked for", () => {
    const run = new Run();
    for (let epoch = 0; epoch < 5; epoch++) run.epoch({ rms: 1e15, relativeError: 0 });
    expect(run.formats).toEqual({ forward: "bf16", backward: "bf16" });
    const plain = new Run({ forward: "f32", backward: "f32" });
    plain.epoch({ rms: 1e15, relativeError: 0 });
    expect(plain.formats).toEqual({ forward: "f32", backward: "f32" });
  });

  it("goes back to what was asked for after some calm epochs, twice as many after each alarm", () => {
    const run = new Run();
    run.epoch({ rms: 1, relativeError: 0.5 });
    run.epochs(7);
    expect(run.formats.forward).toBe("int8");
    run.epochs(1);
    expect(run.formats.forward).toBe("int4");
    run.epoch({ rms: 1, relativeError: 0.5 });
    run.epochs(15);
    expect(run.formats.forward).toBe("int8");
    run.epochs(1);
    expect(run.formats.forward).toBe("int4");
  });
});
