/** The browser that end-to-end tests drive: the Chromium on the PATH. Without one they are skipped and say so. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import { type Browser, chromium, type Page } from "playwright-core";
import { expect } from "vitest";

const executablePath = ["chromium", "chromium-browser"]
  .flatMap((name) => (process.env.PATH ?? "").split(delimiter).map((folder) => join(folder, name)))
  .find(isExecutable);

/** With `REQUIRE_CHROMIUM=1`, a missing browser is a failure: CI has one. */
export const skipReason =
  executablePath === undefined && process.env.REQUIRE_CHROMIUM !== "1" ? "no chromium on the PATH" : undefined;

/** For `describe`: the name, with the reason where it is skipped. */
export const named = (name: string) => (skipReason === undefined ? name : `${name} (skipped: ${skipReason})`);

export function launchBrowser(): Promise<Browser> {
  if (executablePath === undefined) throw new Error("REQUIRE_CHROMIUM is set, and there is no chromium on the PATH");
  const flags = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ];
  // Chromium's sandbox does not start for root, as which containers run.
  return chromium.launch({ executablePath, args: process.getuid?.() === 0 ? [...flags, "--no-sandbox"] : flags });
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // not there, or not for us
  }
}

/** What the page complained about: exceptions, refused resources, broken policies. */
export function complaintsOf(page: Page): readonly string[] {
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  return complaints;
}

export async function expectAccessible(page: Page): Promise<void> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  expect(grave.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`)).toEqual([]);
}

export async function expectNoSidewaysScroll(page: Page): Promise<void> {
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(excess).toBe(0);
}
