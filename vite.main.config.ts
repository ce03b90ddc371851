/**
 * Bundles for Electron and the packaged app, one per mode: `main` (a module), `preload` (the sandbox wants one CommonJS file) and
 * `daemon` (the command line and the compute worker, for the Node that is packaged with the app).
 */
import { defineConfig, type Plugin } from "vite";

interface BundleShape {
  readonly entries: Readonly<Record<string, string>>;
  readonly format: "es" | "cjs";
  readonly extension: string;
  readonly outDir: string;
}

const shapes: Readonly<Record<string, BundleShape>> = {
  main: { entries: { index: "src/main/index.ts" }, format: "es", extension: "mjs", outDir: "dist/main" },
  preload: { entries: { index: "src/main/preload.ts" }, format: "cjs", extension: "cjs", outDir: "dist/preload" },
  daemon: {
    entries: {
      tah: "src/cli/tah.ts",
      worker: "src/compute/worker.ts",
      "os-secrets-process": "src/miner/key-store/os-secrets-process.ts",
    },
    format: "es",
    extension: "mjs",
    outDir: "dist/daemon",
  },
};

/** Loaded from beside the bundle: compiled code, and text that is only read as files. `ws` takes its two where they are. */
const externals = [
  "electron",
  "@napi-rs/keyring",
  "better-sqlite3",
  "hyperdht",
  "webgpu",
  "bufferutil",
  "utf-8-validate",
];

export default defineConfig(({ mode }) => {
  const shape = shapes[mode];
  if (!shape) throw new Error(`--mode is one of ${Object.keys(shapes).join(", ")}`);
  return {
    publicDir: false,
    plugins: [filesBesideTheBundle()],
    ssr: { noExternal: true, external: externals },
    build: {
      ssr: true,
      outDir: shape.outDir,
      emptyOutDir: true,
      target: "node24",
      minify: false,
      rollupOptions: {
        input: shape.entries,
        external: externals,
        output: {
          format: shape.format,
          entryFileNames: `[name].${shape.extension}`,
          chunkFileNames: `[name]-[hash].${shape.extension}`,
        },
      },
    },
  };
});

/** Files that the code finds by where it lies itself, and where they lie beside the bundle. */
const movedFiles: Readonly<Record<string, string>> = {
  "./worker.ts": "./worker.mjs",
  "./os-secrets-process.ts": "./os-secrets-process.mjs",
  "../../../../native-bridge/build/train-at-home-native.node": "./train-at-home-native.node",
};

function filesBesideTheBundle(): Plugin {
  return {
    name: "files-beside-the-bundle",
    transform: (code) =>
      Object.entries(movedFiles).reduce(
        (text, [from, to]) =>
          text.replaceAll(`new URL("${from}", import.meta.url)`, `new URL("${to}", import.meta.url)`),
        code,
      ),
  };
}
