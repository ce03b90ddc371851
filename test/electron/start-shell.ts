/** Starts the built main process against a fake Electron: each start is a module instance of its own. */
import { createRequire, registerHooks } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { FakeElectron, type FakeElectronOptions } from "./fake-electron.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const mainFile = pathToFileURL(`${root}dist/main/index.mjs`).href;
const electrons = new Map<string, FakeElectron>();
const nativeImport: (specifier: string) => Promise<unknown> = createRequire(import.meta.url)("./native-import.cjs");

Object.assign(globalThis, { fakeElectronModule: (instance: string) => electrons.get(instance)?.mainModule });

registerHooks({
  resolve(specifier, context, nextResolve) {
    const started = /^started-shell:(\d+)$/.exec(specifier)?.[1];
    if (started !== undefined) return { url: `${mainFile}?instance=${started}`, shortCircuit: true };
    const instance = /\?instance=(\d+)$/.exec(context.parentURL ?? "")?.[1];
    if (specifier === "electron" && instance !== undefined)
      return { url: `fake-electron:${instance}`, shortCircuit: true };
    return nextResolve(specifier, context);
  },
  load(url, context, nextLoad) {
    const instance = /^fake-electron:(\d+)$/.exec(url)?.[1];
    if (instance === undefined) return nextLoad(url, context);
    const names = Object.keys(electrons.get(instance)?.mainModule ?? {}).join(", ");
    const source = `export const { ${names} } = globalThis.fakeElectronModule("${instance}");`;
    return { format: "module", source, shortCircuit: true };
  },
});

export async function startShell(options: Partial<FakeElectronOptions> = {}): Promise<FakeElectron> {
  const electron = new FakeElectron({ appPath: root, switches: {}, anotherInstance: false, ...options });
  const instance = String(electrons.size);
  electrons.set(instance, electron);
  await nativeImport(`started-shell:${instance}`);
  return electron;
}
