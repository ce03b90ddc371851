/**
 * `npm run bench -- records`: what it costs to sign and to check the numbers that peers send each other, next to computing with them, and
 * what each hash would cost.
 */
import { createHash, createHmac } from "node:crypto";
import { z } from "zod";
import { presets } from "../../src/compute/model/presets.ts";
import { createIdentity } from "../../src/protocol/identity.ts";
import { runIdSchema } from "../../src/protocol/ids.ts";
import { encodeMicrobatch } from "../../src/protocol/microbatch.ts";
import {
  contentOf,
  isSigned,
  originOf,
  payloadDigest,
  recordBytes,
  type Transfer,
  type TransferRecord,
} from "../../src/protocol/transfer-record.ts";
import { configured } from "./compute/configuration.ts";
import { runTraining } from "./compute/programs.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { median, printResult, progress, provenance, rounded, verdictOf } from "./shared/report.ts";

const flags = readFlags(z.object({ rounds: count.default(5), json: given }));

/** Of what a microbatch takes anyway. */
const targets = { shareOfCompute: { atMost: 0.01 }, shareOfBytes: { atMost: 0.01 } } as const;
const { model, training, stages } = presets.demo;
const tokens = training.sequenceLength * training.sequencesPerMicrobatch;
/** In 8 bits, as the demo's activations could cross; and what a wide stage in f32 sends. */
const payloadBytes = [tokens * model.width, 4 << 20] as const;
const repeats = 200;

const [sender, before] = [createIdentity(), createIdentity()];
const key = Buffer.alloc(32, 1);
const hashes: Readonly<Record<string, (bytes: Uint8Array) => unknown>> = {
  "SHA-256": payloadDigest,
  "HMAC-SHA-256": (bytes) => createHmac("sha256", key).update(bytes).digest(),
  BLAKE2b: (bytes) => createHash("blake2b512").update(bytes).digest(),
  BLAKE2s: (bytes) => createHash("blake2s256").update(bytes).digest(),
};
const at = { runId: runIdSchema.parse("run"), epoch: 1, attempt: 0, stage: 1 };
const transfer: Transfer = { networkId: before.minerId, at, kind: "forward", step: 1, index: 7 };
const originTransfer = originOf(transfer, stages) ?? transfer;

function signed(of: Transfer, payload: Uint8Array, origin: TransferRecord | null): TransferRecord {
  const content = contentOf(payloadDigest(payload), origin);
  const identity = origin === null ? before : sender;
  const signature = Buffer.from(identity.sign(recordBytes(of, content))).toString("hex");
  return { sender: identity.minerId, content, signature };
}

/** Microseconds of the fastest of some repeats: what other programs take away is none of its cost. */
function fastestUs(task: () => void): number {
  let bestMs = Number.POSITIVE_INFINITY;
  for (let repeat = 0; repeat < repeats; repeat++) {
    const startMs = performance.now();
    task();
    bestMs = Math.min(bestMs, performance.now() - startMs);
  }
  return bestMs * 1000;
}

const rows = payloadBytes.map((bytes) => {
  const payload = new Uint8Array(bytes).fill(7);
  const origin = signed(originTransfer, payload, null);
  const record = signed(transfer, payload, origin);
  const hashUs = Object.fromEntries(
    Object.entries(hashes).map(([name, hash]) => [
      name,
      rounded(
        fastestUs(() => hash(payload)),
        1,
      ),
    ]),
  );
  const check = (isOriginNew: boolean) => {
    const content = contentOf(payloadDigest(payload), origin);
    const holds = isSigned(transfer, { ...record, content }) && (!isOriginNew || isSigned(originTransfer, origin));
    if (!holds) throw new Error("not signed");
  };
  const row = {
    bytes,
    hashUs,
    sendUs: rounded(
      fastestUs(() => signed(transfer, payload, origin)),
      1,
    ),
    /** Of what a source begins, or where the origin is one's own. */
    receiveUs: rounded(
      fastestUs(() => check(false)),
      1,
    ),
    receiveWithOriginUs: rounded(
      fastestUs(() => check(true)),
      1,
    ),
  };
  progress(JSON.stringify(row));
  return row;
});

/** Of one microbatch on its way through all stages and back: the source's activations have no origin, the first gradient's is one's own. */
const [demo = { sendUs: 0, receiveUs: 0, receiveWithOriginUs: 0 }] = rows;
const messages = 2 * (stages - 1);
const recordsMs = (messages * demo.sendUs + 2 * demo.receiveUs + (messages - 2) * demo.receiveWithOriginUs) / 1000;
const { width: d, heads, feedForward: ff } = model;
const shape = { layers: model.layers, d, heads, ff, seq: training.sequenceLength, batch: 1, threads: 1 };
const computeMs = median(
  Array.from({ length: flags.rounds }, () => (1000 * tokens) / runTraining(configured(shape)).tokensPerSecond),
);
const recordBytesSent = recordLength(payloadBytes[0]);
const shareOfCompute = recordsMs / computeMs;
const shareOfBytes = recordBytesSent / payloadBytes[0];
printResult({
  rows,
  microbatch: { computeMs: rounded(computeMs, 2), recordsMs: rounded(recordsMs, 3), recordBytes: recordBytesSent },
  verdicts: {
    shareOfCompute: verdictOf(rounded(shareOfCompute, 4), targets.shareOfCompute),
    shareOfBytes: verdictOf(rounded(shareOfBytes, 4), targets.shareOfBytes),
  },
  ...provenance(0),
});

/** What the record adds to a message whose path is as long as the origin's. */
function recordLength(bytes: number): number {
  const payload = new Uint8Array(bytes);
  const path = [before.minerId, sender.minerId];
  const origin = signed(originTransfer, payload, null);
  const { signature } = signed(transfer, payload, origin);
  const shape = { epoch: 1, attempt: 0, step: 1, microbatch: 7, sequences: 1, stage: 2, rows: tokens, columns: 1 };
  const whole = encodeMicrobatch({ ...shape, path, signature, origin, payload }).length;
  const unsigned = encodeMicrobatch({
    ...{ ...shape, path, rows: 0, signature: "", origin: null },
    payload: new Uint8Array(0),
  }).length;
  return whole - unsigned - bytes;
}
