/** The dashboard of a live local network: real processes that train a small model, watched and steered in a real browser. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { findDaemon } from "../../src/miner/find-daemon.ts";
import { dashboardUrl } from "../../src/protocol/local-api.ts";
import { complaintsOf, expectAccessible, launchBrowser, named, skipReason } from "./browser.ts";

const program = join(import.meta.dirname, "../../src/cli/tah.ts");
const slow = { timeout: 60_000 };
const waiting = { timeout: 45_000, interval: 200 };

describe.skipIf(skipReason !== undefined)(named("the dashboard of a live local network"), () => {
  let stateFolder: string;
  let network: ChildProcess;
  let output = "";
  let browser: Browser;
  let page: Page;
  let complaints: readonly string[];

  beforeAll(async () => {
    mkdirSync("test-results", { recursive: true });
    stateFolder = mkdtempSync(join(tmpdir(), "tah-e2e-"));
    network = spawn(
      process.execPath,
      [program, "demo", "--preset", "tiny", "--replicas", "2", "--state", stateFolder],
      {
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
    network.stdout?.on("data", (data) => (output += data));
    network.stderr?.on("data", (data) => (output += data));
    const address = await vi.waitFor(() => {
      if (network.exitCode !== null) throw new Error(`the demo ended:\n${output}`);
      return findDaemon(stateFolder);
    }, waiting);
    browser = await launchBrowser();
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme: "dark" });
    page = await context.newPage();
    complaints = complaintsOf(page);
    await page.goto(dashboardUrl(address));
  }, 90_000);

  afterAll(async () => {
    await browser?.close();
    if (network && network.exitCode === null) {
      network.kill("SIGTERM");
      await once(network, "exit");
    }
    if (stateFolder) rmSync(stateFolder, { recursive: true, force: true });
  });

  const tokens = async () =>
    Number((await page.locator('[data-figure="tokens"] .big-value').textContent())?.replace(/\D/g, ""));
  const chart = () => page.locator(".loss-frame canvas").evaluate((canvas: HTMLCanvasElement) => canvas.toDataURL());
  const becomes = (name: string | RegExp) =>
    page.locator(".machine-state-title").filter({ hasText: name }).waitFor(waiting);

  test("the network trains: tokens are counted up and the loss chart grows", slow, async () => {
    await becomes(/^Training stage \d of 3$/);
    await page.locator(".loss-frame canvas").waitFor(waiting);
    const before = { tokens: await tokens(), chart: await chart() };
    await vi.waitFor(async () => {
      expect(await tokens()).toBeGreaterThan(before.tokens);
      expect(await chart()).not.toBe(before.chart);
    }, waiting);
  });

  test("the evaluator's validation loss falls, and the model's own text is shown", slow, async () => {
    const validation = page.locator('[data-figure="validation-loss"]');
    await vi.waitFor(async () => {
      const [latest, first] = (await validation.textContent())?.match(/\d+\.\d+/g)?.map(Number) ?? [];
      expect(latest).toBeLessThan(first ?? 0);
    }, waiting);
    await page.locator(".sample-text").first().waitFor(waiting);
  });

  test("each of the six processes that train is named, and exactly one is this machine", async () => {
    await page.getByRole("radio", { name: "Table" }).click();
    const rows = page.getByRole("region", { name: "Miners by stage" }).getByRole("rowheader");
    const names = await rows.allInnerTexts();
    expect(names).toHaveLength(6);
    expect(names.filter((name) => name.endsWith("(this machine)"))).toHaveLength(1);
    expect(names.filter((name) => /^local peer \d$/.test(name))).toHaveLength(5);
    await page.getByRole("radio", { name: "Graph" }).click();
  });

  test("Pause takes this machine out, the others go on, and Start brings it back", slow, async () => {
    await page.getByRole("button", { name: "Pause", exact: true }).click();
    await becomes("Paused");
    await page.locator(".machine-state-reason").filter({ hasText: /\w/ }).waitFor();
    await page.screenshot({ path: "test-results/dashboard-paused.png" });
    const paused = await tokens();
    await vi.waitFor(async () => expect(await tokens()).toBeGreaterThan(paused), waiting);
    await page.getByRole("button", { name: "Start training" }).click();
    await becomes(/^Training/);
  });

  test("pausing the run stops it for everyone until it is resumed", slow, async () => {
    await page.getByRole("button", { name: "Pause the run" }).click();
    await page.locator(".run-phase").filter({ hasText: "Run paused" }).waitFor(waiting);
    await page.getByRole("button", { name: "Resume the run" }).click();
    await becomes(/^Training/);
  });

  test(
    "when this machine's daemon is killed, the page says so, and finds the one that is started in its place",
    slow,
    async () => {
      process.kill(findDaemon(stateFolder).pid, "SIGKILL");
      const notice = page.getByRole("alert").filter({ hasText: "What you see is the last that was known." });
      await notice.waitFor(waiting);
      await notice.waitFor({ state: "detached", ...waiting });
      await becomes(/^Training/);
    },
  );

  test("the run log can be searched", async () => {
    await page.getByRole("tab", { name: "Run log" }).click();
    await page.getByRole("searchbox", { name: "Search the log" }).fill("local peer JOINED");
    await vi.waitFor(async () => {
      const lines = await page.locator(".log-lines li").allInnerTexts();
      expect(lines.length).toBeGreaterThan(0);
      expect(lines.every((line) => /local peer \d joined/.test(line))).toBe(true);
    }, waiting);
    await page.getByRole("tab", { name: "What the model writes" }).click();
  });

  test("axe finds nothing serious in the dark, with the graph and the model's text", slow, async () => {
    await becomes(/^Training/);
    await page.screenshot({ path: "test-results/dashboard-dark.png" });
    await expectAccessible(page);
  });

  test("axe finds nothing serious in the light, with the table and the log", slow, async () => {
    await page.emulateMedia({ colorScheme: "light" });
    await becomes(/^Training/);
    await page.screenshot({ path: "test-results/dashboard-light.png" });
    await page.getByRole("tab", { name: "This machine’s log" }).click();
    await page.getByRole("radio", { name: "Table" }).click();
    await expectAccessible(page);
  });

  test("the check of this machine passes and lists the orchestrator among its processes", slow, async () => {
    await page.getByRole("button", { name: "Check", exact: true }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByText("OK", { exact: true }).first().waitFor(waiting);
    expect(await dialog.getByText("Not OK", { exact: true }).count()).toBe(0);
    await dialog.getByRole("rowheader", { name: "orchestrator" }).waitFor(waiting);
    await expectAccessible(page);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
  });

  test("the page complained about nothing but the daemon that was gone", () => {
    expect(complaints.filter((complaint) => !complaint.includes("ERR_CONNECTION_REFUSED"))).toEqual([]);
  });
});
