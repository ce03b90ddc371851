/** A miner as a process of its own: `miner.ts OPTIONS`, with JSON options. Tells its parent each of its states. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createMiner } from "../../../src/miner/create-miner.ts";
import { createIdentity, type Identity, importIdentity } from "../../../src/protocol/identity.ts";
import type { MinerId } from "../../../src/protocol/ids.ts";
import type { MinerState } from "../../../src/protocol/machine-view.ts";

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
  /** A new line of its log, if that is the news. */
  readonly logged: string | null;
}

const { networkUrl, name, stateFolder } = JSON.parse(process.argv[2] ?? "") as MinerProcessOptions;
const identity = await storedIdentity();
const miner = createMiner({
  identity,
  name,
  networkUrl,
  stateFolder,
  device: {
    platform: "test",
    cpu: "test",
    cores: 1,
    memoryBytes: 0,
    memoryLimitBytes: 2 ** 28,
    // Who holds what then depends on nothing that is measured.
    maximumStages: 1,
    backend: "native",
    precision: "f32",
    adapter: null,
    blockTokensPerSecond: null,
  },
  threads: 1,
  limits: { upload: null, download: null },
  payoutAddress: null,
  hotkey: null,
  direct: true,
  log: (_level, _source, text) => tellParent(text),
});
miner.onEvent((event) => {
  if (event.type === "state") tellParent(null);
});
miner.setActive(true, "");
miner.open();
// A miner must not outlive its test.
process.once("disconnect", () => void miner.close(0).then(() => process.exit(0)));

function tellParent(logged: string | null): void {
  const message: MinerProcessMessage = {
    minerId: identity.minerId,
    state: miner.state,
    workers: miner.workers,
    logged,
  };
  process.send?.(message);
}

async function storedIdentity(): Promise<Identity> {
  const file = join(stateFolder, "identity.pem");
  await mkdir(stateFolder, { recursive: true });
  const pem = await readFile(file, "utf8").catch(() => null);
  if (pem !== null) return importIdentity(pem);
  const created = createIdentity();
  await writeFile(file, created.exportPrivateKeyPem(), { mode: 0o600 });
  return created;
}
