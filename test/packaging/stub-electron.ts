/** A folder that looks to electron-builder like Electron's distribution for Linux: an executable with a fuse wire, and nothing to run. */
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Marks the fuse wire in Electron's executable (github.com/electron/fuses). */
const sentinel = "dL7pKGdnNz796PbbjQWNKmHXBZaB9tsX";
const fuseVersion = 1;
const fuseCount = 9;
const fuseOff = "0";

export function writeStubElectron(folder: string, version: string): void {
  mkdirSync(join(folder, "resources"), { recursive: true });
  const wire = Buffer.from([fuseVersion, fuseCount]);
  const program = Buffer.concat([Buffer.from(`stub${sentinel}`), wire, Buffer.from(`${fuseOff.repeat(fuseCount)}end`)]);
  writeFileSync(join(folder, "electron"), program);
  chmodSync(join(folder, "electron"), 0o755);
  writeFileSync(join(folder, "version"), version);
  for (const name of ["LICENSE", "LICENSES.chromium.html", "chrome-sandbox"]) writeFileSync(join(folder, name), "stub");
}
