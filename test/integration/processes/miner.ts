/** A miner as a process of its own: `miner.ts OPTIONS`, with JSON options. Tells its parent each of its states. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createMiner } from "../../../src/miner/create-miner.ts";
import { createIdentity, type Identity, importIdentity } from "../../../src/protocol/identity.ts";
import type { MinerId } from "../../../src/protocol/ids.ts";
import type { MinerState } from "../../../src/protocol/local-api.ts";

export interface MinerProcessOptions {
  readonly networkUrl: string;
  readonly name: string;
  /** Where the identity and the blobs are kept; the same folder is the same miner. */
  readonly stateFolder: string;
}

export interface MinerProcessMessage {
  readonly minerId: MinerId;
  readonly state: MinerState;
  readonly workers: readonly number[];
}

const { networkUrl, name, stateFolder } = JSON.parse(process.argv[2] ?? "") as MinerProcessOptions;
const identity = await storedIdentity();
const miner = createMiner({
  identity,
  name,
  networkUrl,
  stateFolder,
  device: { platform: "test", cpu: "test", cores: 1, memoryBytes: 0, memoryLimitBytes: 0, backend: "native" },
  threads: 1,
  log: (level, source, text) => {
    if (level === "warning" || level === "error") process.stderr.write(`${name} ${source}: ${text}\n`);
  },
});
miner.onEvent((event) => {
  if (event.type !== "state") return;
  process.send?.({
    minerId: identity.minerId,
    state: event.state,
    workers: miner.workers,
  } satisfies MinerProcessMessage);
});
miner.setActive(true, "");
miner.open();
// A miner must not outlive its test.
process.once("disconnect", () => void miner.close(0).then(() => process.exit(0)));

async function storedIdentity(): Promise<Identity> {
  const file = join(stateFolder, "identity.pem");
  await mkdir(stateFolder, { recursive: true });
  const pem = await readFile(file, "utf8").catch(() => null);
  if (pem !== null) return importIdentity(pem);
  const created = createIdentity();
  await writeFile(file, created.exportPrivateKeyPem(), { mode: 0o600 });
  return created;
}
