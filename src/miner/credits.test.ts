import { expect, it } from "vitest";
import { creditsOf } from "./credits.ts";

const idle = { tokensPerSecond: 0, tokensSinceReceipt: 0 };

it("calls only what receipts grant payable", () => {
  const granted = { microCredits: 5_000, tokens: 10 };
  expect(creditsOf(granted, granted, idle)).toEqual({ estimated: 0, pending: 0, payable: 5_000, paid: 0 });
});

it("prices unchecked work and the next day like the latest receipt", () => {
  const latest = { microCredits: 300, tokens: 100 };
  const credits = creditsOf({ microCredits: 1_000, tokens: 400 }, latest, {
    tokensPerSecond: 10,
    tokensSinceReceipt: 50,
  });
  expect(credits).toEqual({ estimated: 10 * 86_400 * 3, pending: 150, payable: 1_000, paid: 0 });
});

it("promises nothing before the first receipt names a price", () => {
  const credits = creditsOf({ microCredits: 0, tokens: 0 }, null, { tokensPerSecond: 10, tokensSinceReceipt: 50 });
  expect(credits).toEqual({ estimated: 0, pending: 0, payable: 0, paid: 0 });
});
