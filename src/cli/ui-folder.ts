import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The built dashboard: of this clone, or beside the packaged daemon. Undefined when it was not built. */
export function findUiFolder(): string | undefined {
  const places = ["../../dist/renderer/", "../renderer/"].map((path) => fileURLToPath(new URL(path, import.meta.url)));
  return places.find((place) => existsSync(`${place}assets`) && existsSync(`${place}index.html`));
}
