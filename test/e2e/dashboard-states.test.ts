/** The states of the dashboard that a live network rarely shows, on a fake daemon. */
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { runIdSchema } from "../../src/protocol/ids.ts";
import type { AppLists, AppState } from "../../src/protocol/machine-view.ts";
import { complaintsOf, expectAccessible, expectNoSidewaysScroll, launchBrowser, named, skipReason } from "./browser.ts";
import { type FakeDaemon, startFakeDaemon } from "./fixtures/fake-daemon.ts";
import { fakeNetwork, fakeRandom, fakeTelemetry } from "./fixtures/fake-network.ts";

describe.skipIf(skipReason !== undefined)(named("the dashboard's states"), () => {
  let browser: Browser;
  const ends: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(async () => browser?.close());
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  const small = fakeNetwork({ stages: 3, replicas: 2, epochs: 24 });
  async function open(
    initial: { state: AppState; lists: AppLists } = small,
    { ownsNetwork, ...options }: BrowserContextOptions & { readonly ownsNetwork?: boolean } = {},
  ): Promise<{ page: Page; complaints: readonly string[]; fake: FakeDaemon }> {
    const fake = await startFakeDaemon(initial, { ownsNetwork });
    ends.push(() => fake.close());
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
    ends.push(() => context.close());
    const page = await context.newPage();
    const complaints = complaintsOf(page);
    await page.goto(fake.url);
    await page.getByRole("heading", { name: "Network", exact: true }).waitFor();
    return { page, complaints, fake };
  }

  test("the token leaves the address bar, and the page survives a reload without it", async () => {
    const { page, complaints } = await open();
    expect(page.url()).not.toContain("token");
    await page.reload();
    await page.getByRole("button", { name: "Pause", exact: true }).waitFor();
    expect(complaints).toEqual([]);
  });

  test("2,000 miners have a window each, and a row each in the table", async () => {
    const { page, complaints, fake } = await open(fakeNetwork({ stages: 4, replicas: 500, epochs: 3 }));
    const random = fakeRandom(1);
    fake.push({ telemetry: fakeTelemetry(fake.state, random) });
    await page.screenshot({ path: "test-results/dashboard-2000-miners.png" });
    await page.getByRole("radio", { name: "Table" }).click();
    await page.getByRole("rowheader", { name: "local peer 2000" }).waitFor();
    expect(await page.getByRole("rowheader", { name: /local peer|this machine/ }).count()).toBe(2000);
    expect(await page.getByRole("rowheader", { name: "(this machine)" }).count()).toBe(1);
    expect(complaints).toEqual([]);
  });

  test("a daemon that goes away is said, and nothing can be asked of it", async () => {
    const { page, fake } = await open();
    await fake.close();
    const notice = page.getByRole("alert");
    await notice.waitFor();
    expect(await notice.textContent()).toContain("What you see is the last that was known.");
    expect(await page.getByRole("button", { name: "Pause", exact: true }).isDisabled()).toBe(true);
    await expectAccessible(page);
  });

  test("a token that is not accepted is explained", async () => {
    const { page, fake } = await open();
    await page.goto(fake.url.replace(/token=.*/, "token=wrong"));
    await page.getByText("no longer valid").waitFor();
  });

  test("without a run the reason for waiting is shown in its place", async () => {
    const { machine } = small.state;
    const reason = "Stage 2 of 3 has no miner.";
    const { page } = await open({
      state: {
        ...small.state,
        run: null,
        telemetry: null,
        machine: { ...machine, state: { kind: "waiting", reason } },
      },
      lists: { epochs: [], evaluations: [], runLog: [], log: [] },
    });
    await page.getByRole("region", { name: "Network" }).getByText(reason).waitFor();
    await page.getByText("Nothing written yet").waitFor();
  });

  test("a command that is refused is said in the daemon's words", async () => {
    const { page } = await open();
    await page.getByRole("button", { name: "Check", exact: true }).click();
    await page.getByText("the fake daemon cannot doctor").waitFor();
  });

  test("what this machine sends is shown for the run and in all, and its owner limits it", async () => {
    const { page, complaints, fake } = await open();
    const machine = page.getByRole("region", { name: "This machine" });
    await machine.getByText("12.4\u00a0GB, run 2.90\u00a0GB").waitFor();
    await machine.getByText("3.28 of 10").waitFor();
    await machine.getByText("19.8 up, 96.8 down Mbit/s; 41 ms").waitFor();
    await page.getByRole("button", { name: "Limits" }).click();
    const upload = page.getByRole("spinbutton", { name: "Most to send" });
    expect(await upload.inputValue()).toBe("10");
    await expectAccessible(page);
    await page.screenshot({ path: "test-results/dashboard-limits.png" });
    await upload.fill("0.01");
    await page.getByRole("button", { name: "Save" }).click();
    expect(await page.getByRole("dialog").count()).toBe(1);
    await upload.fill("2.5");
    await page.getByRole("spinbutton", { name: "Most to receive" }).fill("");
    await page.getByRole("checkbox", { name: "metered" }).check();
    await page.getByRole("button", { name: "Save" }).click();
    await machine.getByText("3.28 of 2.5").waitFor();
    const connection = { maxUploadMbps: 2.5, maxDownloadMbps: null, onMetered: "allow" };
    expect(fake.state.machine.connection).toEqual(connection);
    expect(complaints).toEqual([]);
  });

  test("what a run sends is said, and where its numbers do not bear it", async () => {
    const { run } = small.state;
    if (!run) throw new Error("the fake network has a run");
    const alarm = { stage: 1, epoch: 11, atMs: 0, kind: "runaway" } as const;
    const { page, complaints } = await open({ ...small, state: { ...small.state, run: { ...run, alarms: [alarm] } } });
    const panel = page.getByRole("region", { name: "What the run sends" });
    await panel.getByText("int8 forward, int4 back").waitFor();
    await panel.getByText("34 B forward, 18 B back".replaceAll(" B", "\u00a0B")).waitFor();
    await panel.getByText("19.7 times").waitFor();
    await panel.getByRole("region", { name: "What each part is expected to send" }).getByRole("table").waitFor();
    const boundaries = panel.getByRole("listitem");
    expect(await boundaries.count()).toBe(run.stages.length - 1);
    await boundaries.filter({ hasText: "Stage 1 to 2" }).filter({ hasText: "norm 1.31" }).waitFor();
    await boundaries.filter({ hasText: "Stage 2 to 3" }).filter({ hasText: "The norm ran away in epoch 11" }).waitFor();
    await page.screenshot({ path: "test-results/dashboard-compression.png", fullPage: true });
    await expectAccessible(page);
    expect(complaints).toEqual([]);
  });

  test("a finished run says why it stands still", async () => {
    const { run } = small.state;
    if (!run) throw new Error("the fake network has a run");
    const reason = "The run reached its target of 400000 tokens.";
    const { page } = await open({ ...small, state: { ...small.state, run: { ...run, phase: "finished", reason } } });
    await page.getByText("Finished", { exact: true }).waitFor();
    await page.getByText(reason).waitFor();
  });

  test("several runs are listed, the one in work is marked, and their owner pauses any of them", async () => {
    const [own] = small.state.runs;
    if (!own) throw new Error("the fake network has a run");
    const other = { ...own, runId: runIdSchema.parse("poems"), weight: 3, miners: 1 };
    const state = { ...small.state, runs: [own, other] };
    const { page, complaints } = await open({ ...small, state }, { ownsNetwork: true });
    const rows = page.getByRole("region", { name: "Runs of this network" }).getByRole("listitem");
    await rows.filter({ hasText: "demo (shown here)" }).filter({ hasText: "6 miners · weight 1" }).waitFor();
    const poems = rows.filter({ hasText: "poems" });
    await poems.filter({ hasText: "1 miner · weight 3" }).waitFor();
    await page.getByRole("button", { name: "Pause poems" }).click();
    await poems.filter({ hasText: "Run paused" }).waitFor();
    await page.getByRole("button", { name: "Resume poems" }).waitFor();
    await page.screenshot({ path: "test-results/dashboard-runs.png" });
    await expectAccessible(page);
    expect(complaints).toEqual([]);
  });

  test("a single run needs no list", async () => {
    const { page } = await open();
    expect(await page.getByRole("region", { name: "Runs of this network" }).count()).toBe(0);
  });

  test("every figure explains itself when it gets the focus", async () => {
    const { page } = await open();
    await page.getByRole("button", { name: "In flight" }).focus();
    await page.getByRole("tooltip", { name: "Microbatches that this machine has begun and not finished." }).waitFor();
  });

  test("the arrow keys read single points of the loss chart", async () => {
    const { page } = await open();
    await page.getByRole("region", { name: /^Loss chart/ }).focus();
    await page.keyboard.press("ArrowRight");
    await page.getByText("at 16.4").waitFor();
  });

  test("where motion is unwelcome, numbers tell the traffic", async () => {
    const { page } = await open(small, { reducedMotion: "reduce" });
    expect(await page.getByRole("list", { name: "Microbatches on their way" }).textContent()).toMatch(
      /forward \d+backward \d+/,
    );
  });

  test("nothing runs out of the side, from a telephone to a desk", async () => {
    const { page } = await open();
    for (const [width, height] of [
      [390, 844],
      [900, 700],
      [1280, 800],
      [1440, 900],
    ] as const) {
      await page.setViewportSize({ width, height });
      await expectNoSidewaysScroll(page);
    }
  });

  test("the chosen colours stay after a reload, against those of the system", async () => {
    const { page } = await open(small, { colorScheme: "dark" });
    await page.getByRole("button", { name: "Use light colours" }).click();
    await page.reload();
    await page.getByRole("button", { name: "Use dark colours" }).waitFor();
    expect(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme)).toBe("light");
  });
});
