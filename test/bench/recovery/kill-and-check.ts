/** Kills an orchestrator at one instant after another, and looks each time for what its successor would find. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { streamKey, uniform } from "../../../src/compute/random.ts";
import { auditNetwork } from "../../../src/network/audit/audit.ts";
import { creditTransfer } from "../../../src/network/ledger/ledger.ts";
import { apply } from "../../../src/network/orchestrator/core/apply.ts";
import type { RunEvent } from "../../../src/network/orchestrator/core/event.ts";
import { fakeDefinition } from "../../../src/network/orchestrator/core/fake-swarm.ts";
import type { RunState } from "../../../src/network/orchestrator/core/state.ts";
import { monotonicClock, Orchestrator } from "../../../src/network/orchestrator/orchestrator.ts";
import { EmbeddedStore } from "../../../src/network/store/embedded-store.ts";
import { createIdentity, type Identity } from "../../../src/protocol/identity.ts";
import { FileBlobStore } from "../../../src/transport/blobs/file-blob-store.ts";
import {
  type Acknowledgement,
  acknowledgementSchema,
  blobFolder,
  databaseFile,
  keyFile,
  notePrefix,
} from "./acknowledgement.ts";

export interface RecoveryOptions {
  readonly kills: number;
  readonly seed: number;
  readonly onKill?: (kill: number) => void;
}

export interface RecoveryResult {
  readonly kills: number;
  /** In the log, at the end. */
  readonly events: number;
  /** Made known before a kill. */
  readonly acknowledged: {
    readonly receipts: number;
    readonly checkpoints: number;
    readonly notes: number;
    readonly blobs: number;
  };
  /** Acknowledged, and not there afterwards. */
  readonly lost: readonly string[];
  /** What else was not as it must be. */
  readonly problems: readonly string[];
}

/** A process is killed before it has acknowledged so much; an epoch has some hundred acknowledgements. */
const longestLife = 150;
const child = fileURLToPath(new URL("./orchestrator-process.ts", import.meta.url));

export async function killAndCheck({ kills, seed, onKill }: RecoveryOptions): Promise<RecoveryResult> {
  const folder = await mkdtemp(join(tmpdir(), "recovery-"));
  try {
    const initial = await beginRun(folder, createIdentity());
    const key = streamKey(seed, "kills");
    const acknowledged: Acknowledgement[] = [];
    const lost = new Set<string>();
    const problems: string[] = [];
    let found: Found = { events: 0, notes: 0, lost: [], problems: [] };
    for (let kill = 0; kill < kills; kill++) {
      const life = Math.floor(uniform(key, 0, kill) * longestLife);
      acknowledged.push(...(await killAfter(life, [folder, String(seed + kill), String(found.notes)])));
      found = await lookOver(folder, initial, acknowledged);
      for (const what of found.lost) lost.add(what);
      problems.push(...found.problems.map((what) => `kill ${kill}: ${what}`));
      onKill?.(kill);
    }
    const count = (kind: string) => acknowledged.filter((one) => kind in one).length;
    return {
      kills,
      events: found.events,
      acknowledged: {
        receipts: count("receipt"),
        checkpoints: count("checkpoint"),
        notes: count("note"),
        blobs: count("blob"),
      },
      lost: [...lost],
      problems,
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Returns the state that the log starts from. */
async function beginRun(folder: string, identity: Identity): Promise<RunState> {
  await writeFile(join(folder, keyFile), identity.exportPrivateKeyPem());
  const blobs = await FileBlobStore.open({ folder: join(folder, blobFolder), maxBlobBytes: 1000 });
  await blobs.put(Buffer.from("manifest"));
  const store = await EmbeddedStore.open(join(folder, databaseFile));
  const { state } = await Orchestrator.open({
    store,
    identity,
    networkId: identity.minerId,
    definition: fakeDefinition(),
    clock: monotonicClock(),
    log: () => undefined,
    onFailed(error) {
      throw error;
    },
  });
  await store.close();
  return state;
}

/** Kills the process when it has acknowledged something `life` times; whatever it is at by then, it never gets to the end of it. */
async function killAfter(life: number, args: readonly string[]): Promise<readonly Acknowledgement[]> {
  const running = spawn(process.execPath, [child, ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const closed = once(running, "close");
  const acknowledged: Acknowledgement[] = [];
  for await (const line of createInterface({ input: running.stdout })) {
    acknowledged.push(acknowledgementSchema.parse(JSON.parse(line)));
    if (acknowledged.length === life + 1) running.kill("SIGKILL");
  }
  const [, signal] = (await closed) as [number | null, NodeJS.Signals | null];
  if (signal !== "SIGKILL") throw new Error("the orchestrator's process ended by itself");
  return acknowledged;
}

interface Found {
  readonly events: number;
  /** The number of the last note. */
  readonly notes: number;
  readonly lost: readonly string[];
  readonly problems: readonly string[];
}

async function lookOver(folder: string, initial: RunState, acknowledged: readonly Acknowledgement[]): Promise<Found> {
  // Before anything is opened for writing, which would repair it.
  const report = await auditNetwork(folder);
  const store = await EmbeddedStore.open(join(folder, databaseFile));
  const { runId } = initial.definition;
  const stored = await store.loadRun(runId);
  const log = (await store.readLog(runId)).events.flatMap(({ value }) => value ?? []);
  const receipts = new Set((await store.receipts()).map(({ receipt }) => creditTransfer(receipt).reference));
  await store.close();
  const blobs = new Set<string>(await readdir(join(folder, blobFolder)));

  const state = stored && replay(stored.snapshot, stored.events);
  const notes = log.flatMap((event) => (event.type === "noted" ? Number(event.text.slice(notePrefix.length)) : []));
  const isKept = (one: Acknowledgement): boolean => {
    if ("receipt" in one) return receipts.has(one.receipt);
    if ("blob" in one) return blobs.has(one.blob);
    if ("note" in one) return one.note <= notes.length;
    return one.checkpoint <= (state?.checkpoint?.epoch ?? 0);
  };
  const problems = report.findings.map(({ what }) => what);
  if (!isDeepStrictEqual(replay(initial, log), state))
    problems.push("the whole log leads to another state than the snapshot");
  if (notes.some((note, index) => note !== index + 1)) problems.push("events are there twice, or out of order");
  return {
    events: log.length,
    notes: notes.length,
    lost: acknowledged.filter((one) => !isKept(one)).map((one) => JSON.stringify(one)),
    problems,
  };
}

function replay(state: RunState, events: readonly RunEvent[]): RunState {
  return events.reduce((before, event) => apply(before, event).state, state);
}
