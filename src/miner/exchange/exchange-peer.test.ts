import { describe, expect, it } from "vitest";
import { ExchangePeer } from "./exchange-peer.ts";

describe("a peer that asks without end", () => {
  it("is answered no faster than its answers leave", async () => {
    const peer = new ExchangePeer();
    const leaving: (() => void)[] = [];
    let answers = 0;
    const ask = () =>
      peer.answer(() => {
        answers += 1;
        return new Promise((resolve) => leaving.push(resolve));
      });
    const asked = Array.from({ length: 1000 }, ask);
    expect(answers).toBe(4);
    for (const leave of leaving.splice(0)) leave();
    await Promise.all(asked);
    void ask();
    expect(answers).toBe(5);
  });

  it("is sent the same part again a few times only", () => {
    const peer = new ExchangePeer();
    const resends = Array.from({ length: 10 }, () => peer.mayHaveAgain(3, 0));
    expect(resends.filter((isSent) => isSent)).toHaveLength(4);
    expect(peer.mayHaveAgain(3, 1)).toBe(true);
  });
});
