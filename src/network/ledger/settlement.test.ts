import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { failureOf } from "../../protocol/failure.ts";
import { runIdSchema } from "../../protocol/ids.ts";
import { fakeMiner } from "../orchestrator/core/fake-swarm.ts";
import { EmbeddedStore } from "../store/embedded-store.ts";
import { CsvPayout } from "./csv-payout.ts";
import { accounts, creditTransfer } from "./ledger.ts";
import { settle } from "./settlement.ts";

const runId = runIdSchema.parse("run");
const [rich, poor] = [fakeMiner(2), fakeMiner(1)];
const earned = (minerId: typeof rich, epoch: number, microCredits: number) =>
  creditTransfer({
    networkId: "n",
    minerId,
    at: { runId, epoch, attempt: 0 },
    stage: 0,
    tokens: 1,
    checks: [],
    microCredits,
    atMs: 1,
  });

describe("a settlement", () => {
  let folder: string;
  let store: EmbeddedStore;
  let payout: CsvPayout;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "settlement-"));
    store = await EmbeddedStore.open(join(folder, "ledger.sqlite"));
    payout = new CsvPayout(join(folder, "payouts"));
    await store.enter([earned(rich, 0, 600), earned(rich, 1, 500), earned(poor, 0, 999)]);
  });
  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const options = { settlementId: "2026-01", minimumMicroCredits: 1000, atMs: 2 };
  const csv = () => readFile(join(folder, "payouts", "settlement-2026-01.csv"), "utf8");

  it("pays who has earned enough; the rest rolls over", async () => {
    expect(await settle(store, payout, options)).toEqual([{ minerId: rich, microCredits: 1100 }]);
    expect(await csv()).toBe(`miner,micro_credits\n${rich},1100\n`);
    const balances = await store.balances();
    expect(balances.get(accounts.payable(rich))).toBe(0n);
    expect(balances.get(accounts.paid(rich))).toBe(1100n);
    expect(balances.get(accounts.payable(poor))).toBe(999n);
    expect(balances.get(accounts.issuance(runId))).toBe(-2099n);
    await store.enter([earned(poor, 1, 1)]);
    expect(await settle(store, payout, { ...options, settlementId: "2026-02" })).toEqual([
      { minerId: poor, microCredits: 1000 },
    ]);
  });

  it("pays nobody twice when it was interrupted between the file and the ledger", async () => {
    await payout.pay(options.settlementId, [{ minerId: rich, microCredits: 1100 }]);
    await settle(store, payout, options);
    expect(await csv()).toBe(`miner,micro_credits\n${rich},1100\n`);
    expect(await settle(store, payout, options)).toEqual([]);
    expect(await readdir(join(folder, "payouts"))).toHaveLength(1);
  });

  it("does not write other payments under an id that has been used", async () => {
    await payout.pay(options.settlementId, [{ minerId: rich, microCredits: 1 }]);
    const error: unknown = await settle(store, payout, options).catch((one) => one);
    expect(failureOf(error)?.code).toBe("state-corrupt");
    expect((await store.balances()).get(accounts.payable(rich))).toBe(1100n);
  });
});
