import { describe, expect, it } from "vitest";
import { parseProcess } from "./processor-time.ts";

describe("a process's line in /proc", () => {
  it("is read behind its name, whatever that holds", () => {
    const rest = "S 7 1 1 0 -1 4194304 100 0 0 0 250 50 40 10 20 0 1 0 12345 1000 100";
    const expected = { parent: 7, ownSeconds: 3, endedChildrenSeconds: 0.5 };
    for (const name of ["node", "a) b (c"]) expect(parseProcess(`42 (${name}) ${rest}`)).toEqual(expected);
  });
});
