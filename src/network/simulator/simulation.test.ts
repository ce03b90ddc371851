import { describe, expect, it } from "vitest";
import { brokenRules } from "../orchestrator/core/rules.ts";
import { type Disturbances, homeScenario, type Scenario, scenarioSchema, undisturbed } from "./scenario.ts";
import { simulate } from "./simulation.ts";

/** Everyone is interrupted several times an hour. */
const restless: Disturbances = {
  crashes: { perHour: 1, minutes: 1 },
  sleeps: { perHour: 1, minutes: 5 },
  leaves: { perHour: 0.5, minutes: 10 },
  slowdowns: { perHour: 0.5, minutes: 5, factor: 10 },
};

/** A small model on a few machines, with an epoch every few minutes. */
function smallScenario(changed: Partial<Scenario> = {}): Scenario {
  const run = {
    preset: "25m",
    stages: 3,
    minimumReplicas: 2,
    sequencesPerMicrobatch: 1,
    microbatchesPerStep: 16,
    stepsPerEpoch: 64,
  } as const;
  return homeScenario({ seed: 7, hours: 6, miners: 12, run, disturbances: restless, ...changed });
}

describe("a simulated swarm", () => {
  it("keeps the core's rules whatever happens to its miners", () => {
    const broken: string[] = [];
    const outcome = simulate(smallScenario(), {
      onEvent: (before, after, event) =>
        broken.push(...brokenRules(before, after).map((rule) => `${rule}, at ${event.atMs}`)),
    });
    expect(broken).toEqual([]);
    expect(outcome.creditsBalance).toBe(true);
    expect(outcome.epochs).toBeGreaterThan(10);
    for (const count of Object.values(outcome.interruptions)) expect(count).toBeGreaterThan(10);
  });

  it("has one outcome for one scenario, and another one for another seed", () => {
    const outcome = simulate(smallScenario({ hours: 1 }));
    expect(simulate(smallScenario({ hours: 1 }))).toEqual(outcome);
    expect(simulate(smallScenario({ hours: 1, seed: 8 }))).not.toEqual(outcome);
  });

  it("loses no attempt, no partition and nobody's work where nothing happens", () => {
    const outcome = simulate(smallScenario({ disturbances: undisturbed }));
    expect(outcome).toMatchObject({ failedAttempts: 0, partitionsLost: 0 });
    expect(outcome.contributors).toBeGreaterThan(11);
  });

  it("trains less when its machines are often busy with something else", () => {
    const calm = simulate(smallScenario({ disturbances: undisturbed }));
    const slowdowns = { perHour: 6, minutes: 10, factor: 10 };
    const busy = simulate(smallScenario({ disturbances: { ...undisturbed, slowdowns } }));
    expect(busy.tokensPerSecond).toBeGreaterThan(0);
    expect(busy.tokensPerSecond).toBeLessThan(calm.tokensPerSecond);
  });

  it("takes a scenario from a file", () => {
    const scenario = smallScenario();
    expect(scenarioSchema.parse(JSON.parse(JSON.stringify(scenario)))).toEqual(scenario);
  });
});
