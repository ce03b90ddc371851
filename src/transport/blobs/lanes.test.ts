import { describe, expect, it } from "vitest";
import { Lanes } from "./lanes.ts";

describe("lanes", () => {
  const cancelled = { failure: expect.objectContaining({ code: "cancelled" }) };

  it("are left once, and taken by who waited longest", async () => {
    const lanes = new Lanes(1);
    const entered: string[] = [];
    const leave = await lanes.enter(undefined);
    const enter = async (name: string) => {
      const leave = await lanes.enter(undefined);
      entered.push(name);
      return leave;
    };
    const waiting = [enter("first"), enter("second")];
    leave();
    leave();
    const leaveFirst = await waiting[0];
    expect(entered).toEqual(["first"]);
    leaveFirst?.();
    await waiting[1];
    expect(entered).toEqual(["first", "second"]);
  });

  it("are no matter of those who were called off, before they came or while they waited", async () => {
    const lanes = new Lanes(1);
    const leave = await lanes.enter(undefined);
    await expect(lanes.enter(AbortSignal.abort())).rejects.toMatchObject(cancelled);
    const patience = new AbortController();
    const waiting = lanes.enter(patience.signal);
    patience.abort();
    await expect(waiting).rejects.toMatchObject(cancelled);
    leave();
    expect(await lanes.enter(undefined)).toBeTypeOf("function");
  });
});
