/**
 * `npm run bench -- control`: what it costs the gateway's processor that every control message is signed, next to reading and writing it.
 */
import { z } from "zod";
import type { ClientMessage } from "../../src/protocol/client-messages.ts";
import { bodyOf, ControlChannel, messageBody, sessionDigest } from "../../src/protocol/control-channel.ts";
import { createIdentity } from "../../src/protocol/identity.ts";
import { runIdSchema } from "../../src/protocol/ids.ts";
import { decodeClientMessage, encodeMessage } from "../../src/protocol/messages.ts";
import { count, given, readFlags } from "./shared/flags.ts";
import { median, printResult, provenance, rounded } from "./shared/report.ts";

const flags = readFlags(
  z.object({
    miners: count.default(1000),
    /** Of each miner, and to each. */
    messagesPerSecond: count.default(3),
    /** Of what all are told. */
    updateBytes: count.default(100_000),
    /** Of 1,000 messages each. */
    rounds: count.default(9),
    json: given,
  }),
);
const perRound = 1000;

const [miner, network] = [createIdentity(), createIdentity()];
const session = sessionDigest(Uint8Array.of(1), Uint8Array.of(2));
const client = new ControlChannel({ speaker: "client", identity: miner, peer: network.minerId, session });
const gateway = new ControlChannel({ speaker: "gateway", identity: network, peer: miner.minerId, session });
/** What a replica in training says most. */
const progress: ClientMessage = {
  type: "progress",
  at: { runId: runIdSchema.parse("benchmark"), epoch: 12, attempt: 0, stage: 3 },
  tokensBackward: 123_456,
  microbatchesDone: 96,
  microbatchesLost: 0,
  microbatchesInFlight: 4,
  microbatchesRerouted: 1,
  microbatchesStale: 0,
  messagesDamaged: 0,
  stalenessSum: 31,
  stalenessMost: 2,
  tokensPerSecond: 1234.5,
  memoryBytes: 3e9,
  lossSumNats: null,
};
const plain = encodeMessage(progress);
const update = bodyOf(new Uint8Array(flags.updateBytes));

/** Processor time of this process for one call, in microseconds: the median of the rounds. `prepare` is not counted. */
function microseconds(work: (prepared: Uint8Array) => void, prepare: () => Uint8Array = () => plain): number {
  const rounds = Array.from({ length: flags.rounds }, () => {
    const prepared = Array.from({ length: perRound }, prepare);
    const before = process.cpuUsage();
    for (const one of prepared) work(one);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / perRound;
  });
  return rounded(median(rounds), 1);
}

const figures = {
  encode: microseconds(() => encodeMessage(progress)),
  sign: microseconds(() => gateway.seal(messageBody(progress), 0)),
  decode: microseconds((bytes) => decodeClientMessage(bytes)),
  verify: microseconds(
    (bytes) => gateway.open(bytes, 0),
    () => client.seal(messageBody(progress), 0),
  ),
  signUpdateOfAll: microseconds(() => gateway.seal(update, 0)),
};
const perSecond = flags.miners * flags.messagesPerSecond;
printResult({
  microseconds: figures,
  messageBytes: plain.length,
  /** Of one core. */
  gatewayShare: {
    signatures: rounded((perSecond * (figures.verify + figures.sign - figures.encode)) / 1e6, 2),
    encodingAndDecoding: rounded((perSecond * (figures.encode + figures.decode)) / 1e6, 2),
  },
  ...provenance(0),
});
