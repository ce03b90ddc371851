/**
 * For tests: miners with replicas of all stages, wired by memory links, with fake engines and an orchestrator whose every word is the
 * test's. Real are the miners' places. A turn of the event loop takes a millisecond.
 */

import { byteTokenizer } from "../../compute/data/byte-tokenizer.ts";
import { buildDataset } from "../../compute/data/manifest.ts";
import { stageLayout } from "../../compute/model/layout.ts";
import { cutIntoStages } from "../../compute/model/stages.ts";
import type { ClientMessage } from "../../protocol/client-messages.ts";
import { hashBytes, type Identity, importIdentity } from "../../protocol/identity.ts";
import {
  type BlobHash,
  type BlobRef,
  type EpochRef,
  type MinerId,
  type PlaceRef,
  runIdSchema,
} from "../../protocol/ids.ts";
import { decodeClientMessage, encodeMessage } from "../../protocol/messages.ts";
import { ownersPerPartition, partitionsOf } from "../../protocol/partitions.ts";
import { type Roster, rosterBytes } from "../../protocol/roster.ts";
import type { BoundaryFormats, ModelConfig, TrainingConfig } from "../../protocol/run-config.ts";
import { noCompression } from "../../protocol/run-config.ts";
import { MemoryNetwork } from "../../transport/memory-link.ts";
import { PeerBlobs } from "../../transport/peer-blobs.ts";
import type { PeerLink } from "../../transport/peer-link.ts";
import { FakeResidualStore } from "../merge/fake-residual-store.ts";
import { FakeClock } from "../session/fake-clock.ts";
import { Activity } from "./activity.ts";
import { FakeBlobs } from "./fake-blobs.ts";
import { type FakeEngine, FakeEngines } from "./fake-engine.ts";
import type { Place } from "./place.ts";
import { Places } from "./places.ts";
import type { EpochMessage } from "./replica.ts";

const model: ModelConfig = {
  vocabulary: 256,
  width: 4,
  layers: 4,
  heads: 2,
  keyValueHeads: 1,
  feedForward: 4,
  context: 8,
  rotaryBase: 10_000,
  normEpsilon: 1e-5,
};

const training: TrainingConfig = {
  mode: "local-steps",
  sequenceLength: 8,
  sequencesPerMicrobatch: 2,
  microbatchesPerStep: 3,
  stepsPerEpoch: 2,
  maximumStaleness: 0,
  learningRate: 1e-3,
  warmupSteps: 0,
  schedule: { kind: "constant" },
  optimizer: "adamw",
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  weightDecay: 0,
  clipGradientNorm: null,
  outerLearningRate: 1,
  outerMomentum: 0,
  compression: noCompression,
  seed: 1,
};
export const tokensPerMicrobatch = training.sequenceLength * training.sequencesPerMicrobatch;

type MessageOf<T extends ClientMessage["type"]> = Extract<ClientMessage, { type: T }>;
type ApplyOrder = Extract<EpochMessage, { type: "apply" }>;
/** What is said to a replica of any stage. */
type Order = EpochMessage extends infer M ? (M extends { at: PlaceRef } ? Omit<M, "at"> : never) : never;

export interface FakeMember {
  readonly id: MinerId;
  readonly sign: Identity["sign"];
  /** Its stages, lowest first; most have one. */
  readonly stages: readonly number[];
  readonly places: Places;
  readonly sent: ClientMessage[];
  readonly log: string[];
  readonly blobs: FakeBlobs;
  /** Of each place that it was ever given, in that order. */
  readonly engines: FakeEngines[];
  /** Lets the others fetch these bytes from it. */
  readonly offer: PeerBlobs["offer"];
  /** Its current link. */
  link: PeerLink;
}

/** What `prepare` says of a stage, as far as it is not nothing. */
export type FakeCheckpoint = Pick<Checkpoint, "weights" | "optimizer"> & Partial<Checkpoint>;
type Checkpoint = NonNullable<Place["checkpoint"]>;

export interface SwarmShape {
  /** The stages of each miner; `replicas` of them for each stage unless given. */
  readonly holdings?: readonly (readonly number[])[];
  readonly seed?: number;
  /** Wider than usual, so that states are longer. */
  readonly width?: number;
}

export class FakeSwarm {
  readonly network = new MemoryNetwork();
  readonly clock: FakeClock;
  /** Of the network's store. */
  readonly blobs = new FakeBlobs();
  readonly members: FakeMember[];
  readonly training: TrainingConfig;
  readonly model: ModelConfig;
  /** Of the roster; 1 unless given. */
  readonly weights = new Map<MinerId, number>();
  at: EpochRef = { runId: runIdSchema.parse("run"), epoch: 0, attempt: 0 };
  /** What `start` says. */
  boundary: BoundaryFormats = noCompression.boundary;
  readonly #stages: number;
  #rosterVersion = 0;
  #sources: Roster["sources"] = [];

  constructor(stages: number, replicas: number, overrides: Partial<TrainingConfig> = {}, shape: SwarmShape = {}) {
    this.#stages = stages;
    this.clock = new FakeClock(shape.seed ?? 1);
    this.training = { ...training, ...overrides };
    this.model = { ...model, width: shape.width ?? model.width };
    const oneEach = Array.from({ length: stages * replicas }, (_, index) => [Math.floor(index / replicas)]);
    this.members = (shape.holdings ?? oneEach).map((held, index) => this.#member(index, held));
    for (const { places, link } of this.members) {
      places.connected(link);
      places.join();
    }
  }

  inStage(stage: number, members: readonly FakeMember[] = this.members): FakeMember[] {
    return members.filter((member) => member.stages.includes(stage));
  }

  member(stage: number, index: number): FakeMember {
    const member = this.inStage(stage)[index];
    if (member === undefined) throw new Error(`no replica ${index} in stage ${stage}`);
    return member;
  }

  /** The member's newest engine, whether it lives or not, of its lowest stage unless given. */
  engine(member: FakeMember, stage = member.stages[0]): FakeEngine {
    const engine = member.engines.flatMap(({ made }) => made).findLast((made) => made.stage === stage);
    if (engine === undefined) throw new Error(`no replica of stage ${stage}`);
    return engine;
  }

  /** How often each microbatch's gradient was added in a stage, over all its replicas that are given. */
  trainedIn(stage: number, members: readonly FakeMember[] = this.members): Map<number, number> {
    const counts = new Map<number, number>();
    for (const member of this.inStage(stage, members))
      for (const microbatch of this.engine(member, stage).trained)
        counts.set(microbatch, (counts.get(microbatch) ?? 0) + 1);
    return counts;
  }

  tell(members: readonly FakeMember[], order: Order): void {
    for (const { places, stages } of members)
      for (const stage of stages) places.handle({ ...order, at: { ...this.at, stage } });
  }

  async prepare(members = this.members, checkpoints: ReadonlyMap<number, FakeCheckpoint> = new Map()) {
    for (const member of members)
      for (const stage of member.stages) member.places.handle(await this.place(stage, checkpoints.get(stage)));
    for (const member of members) for (const stage of member.stages) await this.heard(member, "ready", stage);
  }

  /** What `prepare` says. */
  async place(stage: number, checkpoint?: FakeCheckpoint): Promise<Place> {
    return {
      type: "prepare",
      at: { ...this.at, stage },
      stage: this.#stageSpec(stage),
      model: this.model,
      training: this.training,
      dataset: { manifest: this.#dataset() },
      checkpoint:
        checkpoint === undefined ? null : { moments: null, holders: [], merges: [], mergers: [], ...checkpoint },
      memoryLimitBytes: 2 ** 30,
    };
  }

  /** With the next version. */
  roster(members = this.members): Roster {
    this.#rosterVersion += 1;
    const stages = Array.from({ length: this.#stages }, (_, stage) =>
      this.inStage(stage, members).map(({ id }) => ({ minerId: id, weight: this.weights.get(id) ?? 1 })),
    );
    return { version: this.#rosterVersion, stages, sources: this.#sources };
  }

  /** `start` or `roster`, as the network signs it. */
  announce(type: "start" | "roster", members: readonly FakeMember[], roster: Roster): void {
    const signature = fakeSignature(rosterBytes({ ...this.at, stage: 0 }, roster));
    const signed = { roster, signature };
    const { boundary } = this;
    this.tell(members, type === "start" ? { type, ...signed, boundary } : { type, ...signed });
  }

  /** Begins the epoch for these members, and tells them; or, where some start late, only some of them. */
  start(members = this.members, told = members): Roster {
    this.#sources = this.inStage(0, members).map(({ id }) => ({ minerId: id, weight: this.weights.get(id) ?? 1 }));
    const roster = this.roster(members);
    this.announce("start", told, roster);
    return roster;
  }

  /** Takes a member away: its link ends, its work with it, and the others are told unless `silently`. */
  kill(member: FakeMember, rest = this.members.filter((other) => other !== member), silently = false): void {
    this.network.remove(member.id);
    member.link.close();
    void member.places.close();
    if (!silently) this.announce("roster", rest, this.roster(rest));
  }

  /** The member's session ends, and another begins when `reconnect` is called. */
  disconnect(member: FakeMember): void {
    member.link.close();
    member.places.disconnected("The connection was closed.");
  }

  reconnect(member: FakeMember): void {
    member.link = this.network.link(member.id);
    member.places.connected(member.link);
  }

  /** Lets every stage merge what these members trained, as the protocol says. */
  async merge(members = this.members): Promise<MessageOf<"merged">[]> {
    for (let stage = 0; stage < this.#stages; stage++) {
      const replicas = this.inStage(stage, members);
      await this.apply(stage, replicas, await this.reduced(stage, replicas));
    }
    return Promise.all(members.map((member) => this.heard(member, "merged")));
  }

  /** Lets these replicas of a stage contribute and average; what they are to apply. */
  async reduced(stage: number, members: readonly FakeMember[]): Promise<ApplyOrder> {
    const at = { ...this.at, stage };
    const replicas = members.map(({ id }) => id);
    for (const { places } of members) places.handle({ type: "upload", at, replicas });
    const contributed = await Promise.all(members.map((member) => this.heard(member, "contributed", stage)));
    const contributions = contributed.map(({ manifest, tokens }, index) => ({
      minerId: replicas[index] ?? memberId(0),
      manifest,
      tokens,
    }));
    const partitions = partitionsOf(
      at,
      replicas,
      stageLayout(this.model, this.#stageSpec(stage)).length,
      this.training.compression.merge,
    );
    const ownedBy = ({ id }: FakeMember) =>
      partitions.filter(({ order }) => order.slice(0, ownersPerPartition).includes(id));
    const owners = members.filter((member) => ownedBy(member).length > 0);
    for (const owner of owners) {
      const owned = ownedBy(owner);
      const order = { replicas, contributions, partitions: owned.map(({ index }) => index) };
      owner.places.handle({ type: "reduce", at, ...order });
    }
    const slices = partitions.map(() => ({ hash: null as BlobHash | null, holders: [] as MinerId[] }));
    for (const member of owners)
      for (const { partition, hash } of (await this.heard(member, "reduced", stage)).slices) {
        const slice = slices[partition];
        if (slice === undefined || hash === null) throw new Error(`partition ${partition} was not averaged`);
        slice.hash ??= hash;
        if (slice.hash === hash) slice.holders.push(member.id);
      }
    return {
      type: "apply",
      at,
      replicas,
      tokens: contributions.reduce((sum, { tokens }) => sum + tokens, 0),
      slices: slices.map(({ hash, holders }) => (hash === null ? null : { hash, holders })),
    };
  }

  async apply(stage: number, members: readonly FakeMember[], order: ApplyOrder): Promise<MessageOf<"merged">[]> {
    for (const { places } of members) places.handle(order);
    return Promise.all(members.map((member) => this.heard(member, "merged", stage)));
  }

  /** Of what the member merged last. */
  async snapshot(member: FakeMember, stage = member.stages[0] ?? 0): Promise<MessageOf<"snapshot">> {
    const { weightsHash } = await this.heard(member, "merged", stage);
    member.places.handle({ type: "take-snapshot", at: { ...this.at, stage }, weightsHash });
    return this.heard(member, "snapshot", stage);
  }

  async stored(member: FakeMember, stage = member.stages[0] ?? 0): Promise<MessageOf<"stored">> {
    await this.snapshot(member, stage);
    member.places.handle({ type: "store-checkpoint", at: { ...this.at, stage } });
    return this.heard(member, "stored", stage);
  }

  async trained(members = this.inStage(0)): Promise<MessageOf<"source-done">[]> {
    return Promise.all(members.map((member) => this.heard(member, "source-done")));
  }

  /** Waits for a message of this kind, about the current epoch where it names one, and this stage where one is given. */
  async heard<T extends ClientMessage["type"]>(member: FakeMember, type: T, stage?: number): Promise<MessageOf<T>> {
    const isIt = (message: ClientMessage): message is MessageOf<T> =>
      message.type === type &&
      (!("at" in message) ||
        (message.at.epoch === this.at.epoch &&
          message.at.attempt === this.at.attempt &&
          (stage === undefined || message.at.stage === stage)));
    await this.until(() => member.sent.some(isIt));
    return member.sent.filter(isIt).at(-1) as MessageOf<T>;
  }

  /** Waits until something is so; looks again after every turn. */
  async until(isSo: () => boolean): Promise<void> {
    for (let turn = 0; !isSo(); turn++) {
      if (turn > mostTurns) throw new Error(`not so after ${mostTurns} turns`);
      await this.turns(1);
    }
  }

  /** Lets everything happen that can happen by itself within so many turns. */
  async turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      this.clock.advance(1);
    }
  }

  #member(index: number, stages: readonly number[]): FakeMember {
    const { minerId: id, sign } = identityOf(index);
    const engines: FakeEngines[] = [];
    const sent: ClientMessage[] = [];
    const log: string[] = [];
    const blobs = new FakeBlobs(this.blobs.stored);
    const peerBlobs = new PeerBlobs({ clock: this.clock, dropped: (_, { message }) => log.push(message) });
    const places = new Places({
      self: id,
      sign,
      networkId: () => fakeNetworkId,
      device: {
        platform: "fake",
        cpu: "fake",
        cores: 1,
        memoryBytes: 2 ** 30,
        memoryLimitBytes: 2 ** 30,
        maximumStages: 64,
        backend: "reference",
        precision: "f32",
        adapter: null,
        blockTokensPerSecond: null,
      },
      threads: 1,
      openEngines: () => {
        const opened = new FakeEngines();
        engines.push(opened);
        return opened;
      },
      onRoster: () => {},
      isSigned: (bytes, signature) => Buffer.compare(signature, fakeSignature(bytes)) === 0,
      blobs,
      peerBlobs,
      residuals: new FakeResidualStore(),
      activity: new Activity(),
      clock: this.clock,
      // As a real network would: it refuses what its schemas do not have.
      send: (message) => sent.push(decodeClientMessage(encodeMessage(message))),
      onState: () => {},
      log: (_level, text) => log.push(text),
    });
    const offer = (bytes: Uint8Array) => peerBlobs.offer(bytes);
    return { id, sign, stages, places, engines, link: this.network.link(id), sent, log, blobs, offer };
  }

  #stageSpec(stage: number) {
    const spec = cutIntoStages(this.model, this.#stages)[stage];
    if (spec === undefined) throw new Error(`no stage ${stage}`);
    return spec;
  }

  #dataset(): BlobRef {
    const tokens = Int32Array.from({ length: 1000 }, (_, index) => index % 256);
    const { manifest, files } = buildDataset({ train: tokens, validation: tokens }, byteTokenizer, 400, hashBytes);
    for (const file of files.values()) this.blobs.add(file);
    return this.blobs.add(new TextEncoder().encode(JSON.stringify(manifest)));
  }
}

/** As many members as a swarm may have: always the same, their ids in the order of their indices. */
const identities = Array.from({ length: 64 }, (_, index) => identityFrom(index)).toSorted((a, b) =>
  a.minerId < b.minerId ? -1 : 1,
);
export const fakeNetworkId = "fake network";

function identityFrom(seed: number): Identity {
  const pkcs8Header = Buffer.from("302e020100300506032b657004220420", "hex");
  const key = Buffer.concat([pkcs8Header, Buffer.alloc(32, seed)]).toString("base64");
  return importIdentity(`-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----`);
}

function identityOf(index: number): Identity {
  const identity = identities[index];
  if (identity === undefined) throw new Error(`no member ${index}`);
  return identity;
}

function memberId(index: number): MinerId {
  return identityOf(index).minerId;
}

const mostTurns = 300_000;

/** The network's, as far as these miners know. */
function fakeSignature(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(hashBytes(bytes), "hex"));
}
