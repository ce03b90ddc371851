import { expect, it } from "vitest";
import { updateIntervalMs } from "./broadcaster.ts";

it("tells few sessions of a change almost at once, and many of several changes together", () => {
  expect([0, 6, 50, 200, 512, 4096].map(updateIntervalMs)).toEqual([100, 100, 100, 400, 1000, 1000]);
});
