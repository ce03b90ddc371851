import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { failureOf } from "../../protocol/failure.ts";
import { runIdSchema } from "../../protocol/ids.ts";
import { readPayoutAddress } from "../../protocol/payout-address.ts";
import type { Receipt } from "../../protocol/receipt.ts";
import { fakeMiner } from "../orchestrator/core/fake-swarm.ts";
import { EmbeddedStore } from "../store/embedded-store.ts";
import { CsvPayout } from "./csv-payout.ts";
import { accounts, creditTransfer } from "./ledger.ts";
import { settle } from "./settlement.ts";

const runId = runIdSchema.parse("run");
const [rich, poor] = [fakeMiner(2), fakeMiner(1)];
/** Of Substrate's well-known development accounts. */
const address = readPayoutAddress("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
const otherAddress = readPayoutAddress("5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty");
function earned(minerId: typeof rich, epoch: number, microCredits: number) {
  const at = { runId, epoch, attempt: 0 };
  const receipt: Receipt = { networkId: "n", minerId, at, stage: 0, tokens: 1, checks: [], microCredits, atMs: 1 };
  return { receipt, transfer: creditTransfer(receipt) };
}

describe("a settlement", () => {
  let folder: string;
  let store: EmbeddedStore;
  let payout: CsvPayout;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "settlement-"));
    store = await EmbeddedStore.open(join(folder, "ledger.sqlite"));
    payout = new CsvPayout(join(folder, "payouts"));
    const work = [earned(rich, 0, 600), earned(rich, 1, 500), earned(poor, 0, 999)];
    const receipts = work.map(({ receipt }) => ({ receipt, signature: new Uint8Array(64) }));
    const transfers = work.map(({ transfer }) => transfer);
    await store.commit({ runId, events: [], transfers, receipts, snapshot: null });
    await store.setPayoutAddress(rich, address);
    await store.setPayoutAddress(poor, otherAddress);
  });
  afterEach(async () => {
    await store.close();
    await rm(folder, { recursive: true });
  });
  const options = { settlementId: "2026-01", minimumMicroCredits: 1000, atMs: 2 };
  const csv = () => readFile(join(folder, "payouts", "settlement-2026-01.csv"), "utf8");

  it("pays who has earned enough; the rest rolls over", async () => {
    expect(await settle(store, payout, options)).toEqual([{ minerId: rich, address, microCredits: 1100 }]);
    expect(await csv()).toBe(`miner,address,micro_credits\n${rich},${address},1100\n`);
    const balances = await store.balances();
    expect(balances.get(accounts.payable(rich))).toBe(0n);
    expect(balances.get(accounts.paid(rich))).toBe(1100n);
    expect(balances.get(accounts.payable(poor))).toBe(999n);
    expect(balances.get(accounts.issuance(runId))).toBe(-2099n);
    await store.enter([earned(poor, 1, 1).transfer]);
    expect(await settle(store, payout, { ...options, settlementId: "2026-02" })).toEqual([
      { minerId: poor, address: otherAddress, microCredits: 1000 },
    ]);
  });

  it("keeps what a miner has earned that has named no address until it does", async () => {
    await store.setPayoutAddress(rich, null);
    expect(await settle(store, payout, options)).toEqual([]);
    expect((await store.balances()).get(accounts.payable(rich))).toBe(1100n);
    await store.setPayoutAddress(rich, address);
    expect(await settle(store, payout, options)).toEqual([{ minerId: rich, address, microCredits: 1100 }]);
  });

  it("pays nobody twice when it was interrupted between the file and the ledger", async () => {
    await payout.pay(options.settlementId, [{ minerId: rich, address, microCredits: 1100 }]);
    await settle(store, payout, options);
    expect(await csv()).toBe(`miner,address,micro_credits\n${rich},${address},1100\n`);
    expect(await settle(store, payout, options)).toEqual([]);
    expect(await readdir(join(folder, "payouts"))).toHaveLength(1);
  });

  it("does not write other payments under an id that has been used", async () => {
    await payout.pay(options.settlementId, [{ minerId: rich, address, microCredits: 1 }]);
    const error: unknown = await settle(store, payout, options).catch((one) => one);
    expect(failureOf(error)?.code).toBe("state-corrupt");
    expect((await store.balances()).get(accounts.payable(rich))).toBe(1100n);
  });
});
