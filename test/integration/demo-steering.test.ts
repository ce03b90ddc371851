/** Who may pause the run of `tah demo`: this computer's dashboard, and nobody else. */
import { rmSync } from "node:fs";
import { expect, it, vi } from "vitest";
import { demoFolderName } from "../../src/cli/demo/demo-folder.ts";
import { findDaemon } from "../../src/miner/find-daemon.ts";
import { connectLocalApi } from "../../src/miner/local-api/client.ts";
import { temporaryFolder } from "../contract/local-api-world.ts";
import { DemoProcess } from "./demo-process.ts";
import { FakeClient } from "./gateway-world.ts";

const patience = { timeout: 60_000, interval: 100 };

it("lets its own dashboard pause and resume the run, and no other program", { timeout: 120_000 }, async () => {
  const state = temporaryFolder();
  const folder = demoFolderName({ preset: "tiny", stages: 1, replicas: 1 });
  const demo = new DemoProcess(state, folder, ["--preset", "tiny", "--stages", "1", "--replicas", "1"]);
  try {
    await demo.until(({ lists }) => lists.epochs.length > 0);
    const api = await connectLocalApi(findDaemon(state));
    const { run, machine } = (await api.call("snapshot", {})).state;
    const runId = run?.runId ?? expect.fail("there is no run");

    const stranger = new FakeClient(`${machine.network.url.replace(/\/$/, "")}/session`, machine.device);
    await stranger.next("challenge");
    stranger.hello({ role: "observer" });
    await stranger.next("welcome");
    expect(await stranger.command({ type: "steer-run", runId, action: "pause" })).toMatchObject({
      failure: { code: "not-authorised" },
    });
    stranger.end();

    const isPaused = async () => (await api.call("snapshot", {})).state.run?.phase === "paused";
    await api.call("pause-run", { runId });
    await vi.waitUntil(isPaused, patience);
    await api.call("resume-run", { runId });
    await vi.waitUntil(async () => !(await isPaused()), patience);
    api.close();
  } finally {
    demo.child.kill();
    await demo.ended;
    rmSync(state, { recursive: true, force: true });
  }
});
