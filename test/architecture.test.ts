/** Holds the code to the table in docs/architecture.md: who may import whom, and what the pure parts may not touch. */
import { globSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));

/** For each folder of src, the other ones that it may import. */
const allowedImports: Readonly<Record<string, readonly string[]>> = {
  protocol: [],
  compute: ["protocol"],
  disk: ["protocol"],
  transport: ["protocol"],
  miner: ["compute", "transport", "disk", "protocol"],
  network: ["compute", "transport", "disk", "protocol"],
  cli: ["miner", "network", "compute", "protocol"],
  main: ["miner", "protocol"],
  renderer: ["protocol"],
};

/** Folders whose results follow from their arguments, but for the named parts, which connect them to the world. */
const pureFolders: Readonly<Record<string, readonly string[]>> = {
  "src/compute": ["host.ts", "worker.ts", "backends/native/", "backends/webgpu/"].map((part) => `src/compute/${part}`),
  "src/network/orchestrator/core": [],
  "src/network/orchestrator/placement": [],
  "src/network/plan": [],
  "src/network/simulator": [],
};
const clocks = /\b(Date\.now|new Date\(\)|performance\.now|setTimeout|setInterval|setImmediate|Math\.random)\b/;

interface SourceFile {
  readonly path: string;
  readonly text: string;
  readonly imports: readonly string[];
}

const importPattern =
  /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s*"([^"]+)"|(?:^|\n)import\s*"([^"]+)"|\bimport\(\s*"([^"]+)"/g;

const sources: readonly SourceFile[] = globSync("src/**/*.{ts,tsx}", { cwd: root })
  .map((path) => path.split(sep).join("/"))
  .filter((path) => !/\.test\.tsx?$/.test(path))
  .map((path) => {
    const text = readFileSync(join(root, path), "utf8");
    return {
      path,
      text,
      imports: [...text.matchAll(importPattern)].map((match) => match[1] ?? match[2] ?? match[3] ?? ""),
    };
  });

describe("the architecture", () => {
  it("covers every folder of src", () => {
    const folders = new Set(sources.map(({ path }) => path.split("/")[1]));
    expect([...folders].sort()).toEqual(Object.keys(allowedImports).sort());
  });

  it.each(Object.keys(allowedImports))("lets %s import only what the table says", (folder) => {
    const allowed = [folder, ...(allowedImports[folder] ?? [])];
    const wrong = sourcesBelow(`src/${folder}`).flatMap((source) =>
      source.imports
        .map((specifier) => importedFolder(source, specifier))
        .filter((imported) => imported !== undefined && !allowed.includes(imported))
        .map((imported) => `${source.path} imports ${imported}`),
    );
    expect(wrong).toEqual([]);
  });

  it.each(Object.keys(pureFolders))("keeps %s free of files, sockets, Electron and the clock", (folder) => {
    const pure = sourcesBelow(folder).filter(({ path }) => !pureFolders[folder]?.some((part) => path.startsWith(part)));
    const wrong = pure.flatMap(({ path, text, imports }) => [
      ...imports.filter(touchesTheWorld).map((name) => `${path} imports ${name}`),
      ...(clocks.test(withoutComments(text)) ? [`${path} looks at the clock, or draws lots`] : []),
    ]);
    expect(pure.length).toBeGreaterThan(0);
    expect(wrong).toEqual([]);
  });

  it("uses Electron in its shell only", () => {
    expect(
      sources.filter(({ imports }) => imports.includes("electron")).every(({ path }) => path.startsWith("src/main/")),
    ).toBe(true);
  });
});

function sourcesBelow(folder: string): readonly SourceFile[] {
  return sources.filter(({ path }) => path.startsWith(`${folder}/`));
}

/** The folder of src that an import leads to; undefined for packages, and for files outside of src. */
function importedFolder({ path }: SourceFile, specifier: string): string | undefined {
  if (!specifier.startsWith(".")) return undefined;
  const target = relative(root, join(root, dirname(path), specifier)).split(sep);
  return target[0] === "src" ? target[1] : undefined;
}

/** `node:crypto` and `node:zlib` compute; all other parts of Node, and packages that are wired to it, do more than that. */
function touchesTheWorld(specifier: string): boolean {
  if (["node:crypto", "node:zlib", "node:buffer"].includes(specifier)) return false;
  return isBuiltin(specifier) || ["electron", "ws", "better-sqlite3"].includes(specifier);
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
}
