/**
 * Draws the PNG icons that are committed beside it: `node assets/render.mjs` (needs a Chromium on the PATH). The app's icon
 * comes from icon.svg; the tray shows the same house, and its window tells the state.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { chromium } from "playwright-core";

const folder = import.meta.dirname;

/** What stands in the house's window. */
const windows = {
  training: '<rect x="5" y="7.5" width="6" height="5.5" rx="0.6" fill="#f5a623"/>',
  waiting:
    '<rect x="5" y="7.5" width="6" height="5.5" rx="0.6" fill="#3a4252"/><rect x="5" y="10.25" width="6" height="2.75" rx="0.6" fill="#f5a623"/>',
  paused: '<rect x="5" y="7.5" width="6" height="5.5" rx="0.6" fill="#3a4252"/>',
  attention: '<rect x="5" y="7.5" width="6" height="5.5" rx="0.6" fill="#e5382a"/>',
};

/** Light with a dark edge: legible on any task bar. */
const tray = (window) =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><path d="M8 1 1 6.8V14a1 1 0 0 0 1 1h12a1 1 0 0 0 1-1V6.8Z" fill="#eceff5" stroke="#171b24" stroke-width="1" stroke-linejoin="round"/>${window}</svg>`;

const executablePath = (process.env.PATH ?? "")
  .split(delimiter)
  .map((path) => join(path, "chromium"))
  .find(existsSync);
const browser = await chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ["--no-sandbox"] : [] });
const page = await browser.newPage();

async function draw(svg, size, name) {
  await page.setViewportSize({ width: size, height: size });
  const source = `data:image/svg+xml;base64,${Buffer.from(svg).toString("base64")}`;
  await page.setContent(
    `<body style="margin:0"><img src="${source}" width="${size}" height="${size}" style="display:block">`,
  );
  writeFileSync(join(folder, name), await page.screenshot({ omitBackground: true }));
}

await draw(readFileSync(join(folder, "icon.svg"), "utf8"), 512, "icon.png");
for (const [state, window] of Object.entries(windows)) {
  await draw(tray(window), 16, `tray-${state}.png`);
  await draw(tray(window), 32, `tray-${state}@2x.png`);
}
await browser.close();
