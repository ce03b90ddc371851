import { expect, it } from "vitest";
import { demoFolderName } from "./demo-folder.ts";

it("gives every kind of run a folder of its own, another one when its preset has changed, and the same one to go on", () => {
  const run = { preset: "tiny", stages: 3, replicas: 2 } as const;
  expect(demoFolderName(run)).toMatch(/^tiny-3x2-[0-9a-f]{8}$/);
  const others = [
    { ...run, stages: 1 },
    { ...run, replicas: 1 },
    { ...run, seed: 7 },
    { ...run, mode: "sync" as const },
    { ...run, data: "notes.txt" },
    { ...run, from: "model" },
    { ...run, training: { learningRate: 1 } },
  ];
  expect(new Set([run, ...others].map(demoFolderName)).size).toBe(1 + others.length);
  expect(demoFolderName({ ...run, tokens: 4096 })).toBe(demoFolderName({ ...run }));
});
