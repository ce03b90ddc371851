/**
 * The contract of `LocalApi` (src/protocol/local-api.ts), for every way to reach a daemon: in process, over the WebSocket,
 * over the Electron bridge. The daemon is real; only its miner is a fake.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { loadMachineSettings } from "../../src/miner/store/settings.ts";
import { type AppView, applyApiEvent } from "../../src/protocol/app-view.ts";
import { FailureError } from "../../src/protocol/failure.ts";
import { runIdSchema } from "../../src/protocol/ids.ts";
import type { ApiEvent, LocalApi } from "../../src/protocol/local-api.ts";
import { exampleEpoch, exampleReceipt, exampleRun, exampleSummary, exampleTelemetry } from "./example-views.ts";
import { type DaemonWorld, startDaemonWorld } from "./local-api-world.ts";

export interface ConnectedApi {
  readonly api: LocalApi;
  close(): void | Promise<void>;
}

/** `connect` reaches the world's daemon in the way that is being tested. */
export function describeLocalApi(name: string, connect: (world: DaemonWorld) => Promise<ConnectedApi>): void {
  describe(`LocalApi: ${name}`, () => {
    let world: DaemonWorld;
    let connected: ConnectedApi;
    let api: LocalApi;

    beforeEach(async () => {
      world = await startDaemonWorld();
      connected = await connect(world);
      api = connected.api;
    });
    afterEach(async () => {
      await connected.close();
      await world.close();
    });

    it("delivers a snapshot first, then deltas that add up to what the daemon shows", async () => {
      const watch = watchApi(api);
      await watch.until((view) => view !== null);
      world.miner.emit({ type: "run-update", update: { runId, view: exampleRun(), epochs: [exampleEpoch(0)] } });
      world.miner.emit({ type: "run-update", update: { runId, epochs: [exampleEpoch(1)] } });
      const view = await watch.until((seen) => seen?.lists.epochs.length === 2);
      const { state, lists } = await api.call("snapshot", {});
      expect(watch.events[0]?.event).toBe("snapshot");
      expect(view?.lists.epochs).toEqual(lists.epochs);
      expect(view?.state.run).toEqual(state.run);
      expect(state.run?.phase).toBe("training");
    });

    it("gives a subscriber who comes late everything that happened before", async () => {
      world.miner.emit({ type: "run-update", update: { runId, view: exampleRun(), epochs: [exampleEpoch(0)] } });
      await watchApi(api).until((view) => view?.lists.epochs.length === 1);
      const late = watchApi(api);
      const view = await late.until((seen) => seen !== null);
      expect(view?.lists.epochs).toEqual([exampleEpoch(0)]);
    });

    it("delivers nothing more after unsubscribing", async () => {
      const stopped = watchApi(api);
      await stopped.until((view) => view !== null);
      stopped.unsubscribe();
      const eventsBefore = stopped.events.length;
      world.miner.emit({ type: "run-update", update: { runId, view: exampleRun() } });
      await watchApi(api).until((view) => view?.state.run !== null && view !== null);
      expect(stopped.events.length).toBe(eventsBefore);
    });

    it("pauses and starts the machine, and says why it is not training", async () => {
      const paused = await api.call("pause", {});
      expect(paused).toMatchObject({
        intent: "pause",
        state: { kind: "paused", reason: "Paused by you. Start resumes." },
      });
      expect(world.miner.active?.active).toBe(false);
      const started = await api.call("start", {});
      expect(started).toMatchObject({ intent: "run", state: { kind: "waiting" } });
      expect(world.miner.active?.active).toBe(true);
    });

    it("changes what the machine may send and receive, at once and for the next start", async () => {
      const limited = await api.call("limit", { maxUploadMbps: 8, onMetered: "allow" });
      expect(limited.connection).toEqual({ maxUploadMbps: 8, maxDownloadMbps: null, onMetered: "allow" });
      expect(world.miner.limits).toEqual({ upload: 1e6, download: null });
      const lifted = await api.call("limit", { maxUploadMbps: null });
      expect(lifted.connection).toMatchObject({ maxUploadMbps: null, onMetered: "allow" });
      expect(world.miner.limits).toEqual({ upload: null, download: null });
      expect(loadMachineSettings(world.stateFolder, {}, () => {}, {})).toMatchObject(lifted.connection);
      await expect(api.call("limit", { maxUploadMbps: 0 })).rejects.toMatchObject({
        failure: { code: "invalid-option" },
      });
    });

    it("shows a change of state to subscribers", async () => {
      const watch = watchApi(api);
      const state = { kind: "training", reason: "", stages: [1] } as const;
      const network = { url: "ws://network", connected: true, reason: "" };
      world.miner.emit({ type: "state", state, network });
      const view = await watch.until((seen) => seen?.state.machine.state.kind === "training");
      expect(view?.state.machine).toMatchObject({ state, network });
    });

    it("steers a run, and passes on why the network refuses", async () => {
      await expect(api.call("pause-run", { runId })).resolves.toEqual({});
      await expect(api.call("resume-run", { runId })).resolves.toEqual({});
      await expect(api.call("stop-run", { runId })).resolves.toEqual({});
      expect(world.miner.commands).toEqual([
        { type: "steer-run", runId, action: "pause" },
        { type: "steer-run", runId, action: "resume" },
        { type: "steer-run", runId, action: "finish" },
      ]);
      const refusal = new FailureError("not-authorised", "only the owner may do that", { action: "Ask the owner." });
      world.miner.commandError = refusal;
      await expect(api.call("pause-run", { runId })).rejects.toMatchObject({ failure: refusal.failure });
    });

    it("creates, reweights and deletes runs", async () => {
      await expect(api.call("create-run", { preset: "tiny" })).resolves.toEqual({ runId: "created" });
      await expect(api.call("reweight-run", { runId, weight: 3 })).resolves.toEqual({});
      await expect(api.call("delete-run", { runId })).resolves.toEqual({});
      expect(world.miner.commands).toEqual([
        { type: "create-run", run: { preset: "tiny", weight: 1, replicas: 2 } },
        { type: "reweight-run", runId, weight: 3 },
        { type: "delete-run", runId },
      ]);
      await expect(api.call("reweight-run", { runId, weight: 0 })).rejects.toMatchObject({
        failure: { code: "invalid-option" },
      });
    });

    it("knows every run of the network, and shows the one that this machine is assigned to", async () => {
      const watch = watchApi(api);
      const other = runIdSchema.parse("other");
      world.miner.emit({ type: "runs", runs: [exampleSummary(), exampleSummary({ runId: other, weight: 3 })] });
      world.miner.emit({ type: "run-update", update: { runId, view: exampleRun(), epochs: [exampleEpoch(0)] } });
      const otherView = exampleRun({ runId: other });
      world.miner.emit({ type: "run-update", update: { runId: other, view: otherView, epochs: [exampleEpoch(7)] } });
      const before = await watch.until((view) => view?.lists.epochs.length === 1);
      expect(before?.state.runs.map((run) => [run.runId, run.weight])).toEqual([
        [runId, 1],
        [other, 3],
      ]);
      expect(before?.state.run?.runId).toBe(runId);
      world.miner.emit({ type: "assigned", runId: other });
      const after = await watch.until((view) => view?.state.run?.runId === other);
      expect(after?.lists.epochs).toEqual([exampleEpoch(7)]);
      expect((await api.call("run-details", { runId })).epochs).toEqual([exampleEpoch(0)]);
      const missing = runIdSchema.parse("missing");
      await expect(api.call("run-details", { runId: missing })).rejects.toMatchObject({
        failure: { code: "not-found" },
      });
    });

    it("refuses parameters that the command does not have, naming them", async () => {
      const wrong = { lines: -1 };
      await expect(api.call("logs", wrong)).rejects.toMatchObject({
        name: "FailureError",
        failure: { code: "invalid-option", message: expect.stringContaining("lines") },
      });
      const misspelt = { lines: 1, levle: "debug" };
      await expect(api.call("logs", misspelt)).rejects.toMatchObject({ failure: { code: "invalid-option" } });
    });

    it("refuses a command that does not exist", async () => {
      for (const unknown of ["format-disk", "toString"])
        await expect(api.call(unknown as "pause", {})).rejects.toMatchObject({ failure: { code: "unknown-command" } });
    });

    it("shows the log of the daemon, at the level asked for, without tokens", async () => {
      world.miner.options.log("debug", "session", "a detail");
      world.miner.options.log("warning", "session", "connecting with token=abcdefghijklmnop");
      const warnings = await api.call("logs", { level: "warning" });
      expect(warnings.map(({ text }) => text)).toEqual(["connecting with token=[redacted]"]);
      const all = await api.call("logs", { level: "debug" });
      expect(all.map(({ text }) => text)).toContain("a detail");
      const view = await watchApi(api).until(
        (seen) => seen?.lists.log.some(({ level }) => level === "warning") === true,
      );
      expect(view?.lists.log.map(({ sequence }) => sequence)).toEqual(
        view?.lists.log.map(({ sequence }) => sequence).sort((a, b) => a - b),
      );
    });

    it("shows what this machine does and its share of the run", async () => {
      const watch = watchApi(api);
      world.miner.activity = { ...world.miner.activity, tokensPerSecond: 30, tokensBackward: 1234 };
      world.miner.workers = [process.pid];
      world.miner.emit({
        type: "run-update",
        update: { runId, view: exampleRun(), telemetry: exampleTelemetry(1_000, 90) },
      });
      const view = await watch.until((seen) => seen?.state.activity.share === 0.25);
      expect(view?.state.activity.tokensBackward).toBe(1234);
      expect(view?.state.activity.memoryBytes).toBeGreaterThan(0);
      expect(view?.state.machine.workers).toEqual([process.pid]);
    });

    it("counts receipts as payable credits, once each, and work since then as pending", async () => {
      const watch = watchApi(api);
      const { miner } = world;
      miner.activity = { ...miner.activity, tokensBackward: 200 };
      for (const epoch of [0, 1, 1])
        miner.emit({
          type: "receipt",
          receipt: exampleReceipt(miner.options.identity.minerId, epoch),
          signature: new Uint8Array(64),
        });
      miner.activity = { ...miner.activity, tokensBackward: 250 };
      const view = await watch.until((seen) => (seen?.state.credits.pending ?? 0) > 0);
      expect(view?.state.credits).toEqual({ estimated: 0, pending: 25_000, payable: 100_000, paid: 0 });
    });

    it("starts the run's lists again when the session was opened anew, and keeps the daemon's log", async () => {
      const watch = watchApi(api);
      world.miner.emit({
        type: "run-update",
        update: { runId, view: exampleRun(), epochs: [exampleEpoch(0), exampleEpoch(1)] },
      });
      await watch.until((view) => view?.lists.epochs.length === 2);
      world.miner.emit({ type: "run-reset" });
      const again = [exampleEpoch(0), exampleEpoch(1), exampleEpoch(2)];
      world.miner.emit({ type: "run-update", update: { runId, view: exampleRun(), epochs: again } });
      const view = await watch.until((seen) => (seen?.lists.epochs.length ?? 0) !== 2);
      expect(view?.lists.epochs).toEqual(again);
      expect(view?.lists.log.length).toBeGreaterThan(0);
    });

    it("names the processes that work here", async () => {
      world.miner.workers = [4242];
      await expect(api.call("processes", {})).resolves.toEqual([
        { role: "this-machine", name: "test machine", pid: process.pid, alive: true },
        { role: "compute-worker", name: "test machine", pid: 4242, alive: true },
      ]);
    });

    it("examines the machine", async () => {
      const { checks } = await api.call("doctor", {});
      expect(checks.map((check) => check.name)).toContain("Node");
      for (const { ok, action } of checks) expect(ok || action !== "").toBe(true);
    }, 120_000);

    it("answers many requests at once, each with its own reply", async () => {
      const replies = await Promise.all(
        Array.from({ length: 50 }, (_, index) => api.call("logs", { lines: index + 1 })),
      );
      for (const [index, reply] of replies.entries()) expect(reply.length).toBeLessThanOrEqual(index + 1);
    });

    it("hands work over and ends when asked to stop", async () => {
      await expect(api.call("stop", {})).resolves.toEqual({});
      await world.daemon.closed;
      expect(world.miner.closedWithGraceMs).toBe(5000);
    });
  });
}

const runId = runIdSchema.parse("demo");

/** Folds the events of a subscription and lets a test wait for what it expects to see. */
function watchApi(api: LocalApi) {
  const events: ApiEvent[] = [];
  let view: AppView | null = null;
  let changed = Promise.withResolvers<void>();
  const unsubscribe = api.subscribe((event) => {
    events.push(event);
    view = applyApiEvent(view, event);
    changed.resolve();
    changed = Promise.withResolvers<void>();
  });
  return {
    events,
    unsubscribe,
    async until(expected: (view: AppView | null) => boolean): Promise<AppView | null> {
      while (!expected(view)) await changed.promise;
      return view;
    },
  };
}
