import { expect, it } from "vitest";
import { killAndCheck } from "../bench/recovery/kill-and-check.ts";

it("an orchestrator that is killed at any instant has, when it starts again, all that it had acknowledged, each thing once", async () => {
  const { acknowledged, lost, problems } = await killAndCheck({ kills: 5, seed: 1 });
  expect(acknowledged.receipts).toBeGreaterThan(0);
  expect(acknowledged.checkpoints).toBeGreaterThan(0);
  expect(lost).toEqual([]);
  expect(problems).toEqual([]);
}, 120_000);
