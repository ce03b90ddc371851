/** What every `Store` must do. Call it inside a test file with a function that opens the store kept in a folder. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { accounts, creditTransfer } from "../../src/network/ledger/ledger.ts";
import { apply } from "../../src/network/orchestrator/core/apply.ts";
import { FakeSwarm, fakeDefinition, fakeMiner, fakeStartMs } from "../../src/network/orchestrator/core/fake-swarm.ts";
import { createRun, type RunState } from "../../src/network/orchestrator/core/state.ts";
import type { Commit, SignedReceipt, Store, StoredRun } from "../../src/network/store/store.ts";
import { runIdSchema } from "../../src/protocol/ids.ts";
import { readPayoutAddress } from "../../src/protocol/payout-address.ts";
import type { Receipt } from "../../src/protocol/receipt.ts";

const definition = fakeDefinition();
const { runId } = definition;
const otherRunId = runIdSchema.parse("other-run");
const initial = createRun(definition, fakeStartMs);
const nothing: Commit = { runId, events: [], transfers: [], receipts: [], snapshot: null };

/** The state that a restart finds. */
export function replay({ snapshot, events }: StoredRun): RunState {
  return events.reduce((state, event) => apply(state, event).state, snapshot);
}

/** A run of two epochs with a loss in between: its events. */
export function eventfulRun(): FakeSwarm {
  const swarm = new FakeSwarm(definition);
  swarm.join(1, 2, 3, 4, 5, 6);
  swarm.finishEpoch();
  swarm.reach("training");
  swarm.happen({ type: "session-closed", minerId: fakeMiner(5) });
  swarm.finishEpoch();
  return swarm;
}

function receiptOf(index: number, microCredits: number): Receipt {
  const at = { runId, epoch: index, attempt: 0 };
  return { networkId: "n", minerId: fakeMiner(1), at, stage: 0, tokens: 1, checks: [], microCredits, atMs: 1 };
}

export function storeContract(name: string, open: (folder: string) => Promise<Store>): void {
  describe(`${name}, as a store`, () => {
    let folder: string;
    let store: Store;
    const reopen = async () => {
      await store.close();
      store = await open(folder);
    };
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), "store-"));
      store = await open(folder);
    });
    afterEach(async () => {
      await store.close();
      await rm(folder, { recursive: true });
    });

    it("knows no run before its first snapshot", async () => {
      expect(await store.runIds()).toEqual([]);
      expect(await store.loadRun(runId)).toBeUndefined();
      await store.commit({ ...nothing, snapshot: initial });
      expect(await store.runIds()).toEqual([runId]);
      expect(await store.loadRun(runId)).toEqual({
        snapshot: initial,
        events: [],
        damagedSnapshots: 0,
        lastEventAtMs: null,
      });
    });

    it("replays to the same state after a reopening, wherever the snapshots lie", async () => {
      await store.commit({ ...nothing, snapshot: initial });
      let state = initial;
      for (const [index, event] of eventfulRun().events.entries()) {
        state = apply(state, event).state;
        await store.commit({ ...nothing, events: [event], snapshot: index % 9 === 8 ? state : null });
        if (index % 10 === 0) await reopen();
        const stored = await store.loadRun(runId);
        expect(stored && replay(stored)).toEqual(state);
      }
      const stored = await store.loadRun(runId);
      expect(stored?.events.length).toBeLessThan(9);
      expect(stored?.lastEventAtMs).toBe(eventfulRun().nowMs);
    });

    it("keeps events in their order across and within commits", async () => {
      await store.commit({ ...nothing, snapshot: initial });
      const events = eventfulRun().events;
      await store.commit({ ...nothing, events: events.slice(0, 10) });
      await store.commit({ ...nothing, events: events.slice(10) });
      expect((await store.loadRun(runId))?.events).toEqual(events);
    });

    it("deletes a run and leaves the others, and what it has credited, as they were", async () => {
      const other = createRun(fakeDefinition({ runId: otherRunId }), fakeStartMs);
      const [event] = eventfulRun().events;
      const events = event ? [event] : [];
      const signed: SignedReceipt = { receipt: receiptOf(0, 7), signature: Uint8Array.of(1) };
      const transfers = [creditTransfer(signed.receipt)];
      await store.commit({ ...nothing, events, transfers, receipts: [signed], snapshot: initial });
      await store.commit({ ...nothing, runId: otherRunId, events, snapshot: other });
      await store.setWeight(runId, 2);
      await store.deleteRun(runId);
      await reopen();
      expect(await store.runIds()).toEqual([otherRunId]);
      expect(await store.loadRun(runId)).toBeUndefined();
      expect(await store.loadRun(otherRunId)).toMatchObject({ snapshot: other, events: [] });
      expect((await store.weights()).has(runId)).toBe(false);
      expect(await store.transfers()).toEqual(transfers);
      expect(await store.receipts(fakeMiner(1))).toEqual([signed]);
      await store.commit({ ...nothing, snapshot: initial });
      expect(await store.loadRun(runId)).toMatchObject({ snapshot: initial, events: [] });
    });

    it("keeps the weight that a run was given last", async () => {
      expect((await store.weights()).size).toBe(0);
      await store.setWeight(runId, 3);
      await store.setWeight(otherRunId, 5);
      await store.setWeight(runId, 7);
      await reopen();
      expect(await store.weights()).toEqual(
        new Map([
          [otherRunId, 5],
          [runId, 7],
        ]),
      );
    });

    it("keeps a ledger whose balances add up to nothing", async () => {
      const huge = Number.MAX_SAFE_INTEGER - 1;
      await store.enter([creditTransfer(receiptOf(0, huge)), creditTransfer(receiptOf(1, huge))]);
      await store.enter([
        { ...creditTransfer(receiptOf(2, 5)), from: accounts.payable(fakeMiner(1)), to: accounts.paid(fakeMiner(1)) },
      ]);
      await reopen();
      const balances = await store.balances();
      expect(balances.get(accounts.payable(fakeMiner(1)))).toBe(2n * BigInt(huge) - 5n);
      expect([...balances.values()].reduce((sum, balance) => sum + balance, 0n)).toBe(0n);
      expect((await store.transfers()).map((transfer) => transfer.microCredits)).toEqual([huge, huge, 5]);
    });

    it("enters no transfer twice, and then nothing of what came with it", async () => {
      await store.commit({ ...nothing, snapshot: initial });
      const transfer = creditTransfer(receiptOf(0, 7));
      await store.enter([transfer]);
      const [event] = eventfulRun().events;
      const other = creditTransfer(receiptOf(1, 8));
      await expect(
        store.commit({ ...nothing, events: event ? [event] : [], transfers: [other, transfer] }),
      ).rejects.toThrow();
      expect(await store.transfers()).toEqual([transfer]);
      expect((await store.loadRun(runId))?.events).toEqual([]);
    });

    it("keeps receipts with their signatures, by miner", async () => {
      const signed: SignedReceipt = { receipt: receiptOf(0, 7), signature: Uint8Array.of(1, 2, 3) };
      await store.commit({ ...nothing, receipts: [signed] });
      expect(await store.receipts(fakeMiner(1))).toEqual([signed]);
      expect(await store.receipts(fakeMiner(2))).toEqual([]);
      expect(await store.receipts()).toEqual([signed]);
      expect(await Promise.all([store.hasReceipts(fakeMiner(1)), store.hasReceipts(fakeMiner(2))])).toEqual([
        true,
        false,
      ]);
    });

    it("keeps where miners want to be paid, of those that have a receipt, until they name another address or none", async () => {
      const [first, second] = [
        readPayoutAddress("5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"),
        readPayoutAddress("5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"),
      ];
      const signed: SignedReceipt = { receipt: receiptOf(0, 7), signature: Uint8Array.of(1, 2, 3) };
      await store.commit({ ...nothing, receipts: [signed] });
      for (const miner of [fakeMiner(1), fakeMiner(2)]) await store.setPayoutAddress(miner, first);
      expect([...(await store.payoutAddresses())]).toEqual([[fakeMiner(1), first]]);
      await store.setPayoutAddress(fakeMiner(1), second);
      expect([...(await store.payoutAddresses())]).toEqual([[fakeMiner(1), second]]);
      await store.setPayoutAddress(fakeMiner(1), null);
      expect([...(await store.payoutAddresses())]).toEqual([]);
    });
  });
}
