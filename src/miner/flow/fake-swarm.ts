/**
 * For tests: replicas of all stages, wired by memory links, with fake engines and an orchestrator whose every word is the
 * test's. Real are the replicas.
 */

import { byteTokenizer } from "../../compute/data/byte-tokenizer.ts";
import { buildDataset } from "../../compute/data/manifest.ts";
import { cutIntoStages } from "../../compute/model/stages.ts";
import { FailureError } from "../../protocol/failure.ts";
import { hashBytes } from "../../protocol/identity.ts";
import {
  type BlobHash,
  type BlobRef,
  type EpochRef,
  type MinerId,
  minerIdSchema,
  runIdSchema,
} from "../../protocol/ids.ts";
import type { ClientMessage, Roster } from "../../protocol/messages.ts";
import type { ModelConfig, TrainingConfig } from "../../protocol/run-config.ts";
import { MemoryNetwork } from "../../transport/memory-link.ts";
import type { PeerLink } from "../../transport/peer-link.ts";
import { FakeClock } from "../session/fake-clock.ts";
import { Activity } from "./activity.ts";
import { FakeEngines } from "./fake-engine.ts";
import { type EpochMessage, Replica } from "./replica.ts";

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
  seed: 1,
};

type MessageOf<T extends ClientMessage["type"]> = Extract<ClientMessage, { type: T }>;

export interface FakeMember {
  readonly id: MinerId;
  readonly stage: number;
  readonly replica: Replica;
  readonly engines: FakeEngines;
  readonly link: PeerLink;
  readonly sent: ClientMessage[];
  readonly log: string[];
}

class FakeBlobs {
  readonly stored = new Map<BlobHash, Uint8Array>();

  async get(ref: BlobRef): Promise<Uint8Array> {
    const bytes = this.stored.get(ref.hash);
    if (bytes === undefined) throw new FailureError("blob-not-found", `no blob ${ref.hash}`);
    return Uint8Array.from(bytes);
  }

  take(ref: BlobRef): Promise<Uint8Array> {
    return this.get(ref);
  }

  async put(bytes: Uint8Array): Promise<BlobRef> {
    const ref = { hash: hashBytes(bytes), bytes: bytes.length };
    this.stored.set(ref.hash, Uint8Array.from(bytes));
    return ref;
  }
}

export class FakeSwarm {
  readonly network = new MemoryNetwork();
  readonly clock = new FakeClock();
  readonly blobs = new FakeBlobs();
  readonly members: FakeMember[];
  readonly training: TrainingConfig;
  at: EpochRef = { runId: runIdSchema.parse("run"), epoch: 0, attempt: 0 };
  readonly #stages: number;
  #rosterVersion = 0;

  constructor(stages: number, replicas: number, overrides: Partial<TrainingConfig> = {}) {
    this.#stages = stages;
    this.training = { ...training, ...overrides };
    this.members = Array.from({ length: stages * replicas }, (_, index) =>
      this.#member(index, Math.floor(index / replicas)),
    );
    for (const { replica, link } of this.members) {
      replica.connected(link);
      replica.join();
    }
  }

  inStage(stage: number): FakeMember[] {
    return this.members.filter((member) => member.stage === stage);
  }

  member(stage: number, index: number): FakeMember {
    const member = this.inStage(stage)[index];
    if (member === undefined) throw new Error(`no replica ${index} in stage ${stage}`);
    return member;
  }

  tell(members: readonly FakeMember[], message: EpochMessage): void {
    for (const { replica } of members) replica.handle(message);
  }

  async prepare(
    members = this.members,
    checkpoints: ReadonlyMap<number, { weights: BlobRef; optimizer: BlobRef }> = new Map(),
  ) {
    const manifest = await this.#dataset();
    for (const { replica, stage } of members)
      replica.handle({
        type: "prepare",
        at: this.at,
        stage: this.#stageSpec(stage),
        model,
        training: this.training,
        dataset: { manifest },
        checkpoint: checkpoints.get(stage) ?? null,
      });
    await Promise.all(members.map((member) => this.heard(member, "ready")));
  }

  roster(members = this.members): Roster {
    this.#rosterVersion += 1;
    const stages = Array.from({ length: this.#stages }, (_, stage) =>
      members.filter((member) => member.stage === stage).map(({ id }) => id),
    );
    return { version: this.#rosterVersion, stages };
  }

  start(members = this.members): void {
    this.tell(members, { type: "start", at: this.at, roster: this.roster(members) });
  }

  async trained(members = this.inStage(0)): Promise<MessageOf<"source-done">[]> {
    return Promise.all(members.map((member) => this.heard(member, "source-done")));
  }

  async upload(members = this.members): Promise<MessageOf<"contributed">[]> {
    this.tell(members, { type: "upload", at: this.at });
    return Promise.all(members.map((member) => this.heard(member, "contributed")));
  }

  /** Lets every stage merge what its members said in `contributed`. */
  async merge(members = this.members): Promise<MessageOf<"merged">[]> {
    for (let stage = 0; stage < this.#stages; stage++) {
      const replicas = members.filter((member) => member.stage === stage);
      const contributions = await Promise.all(
        replicas.map(async (member) => {
          const { blob, tokens } = await this.heard(member, "contributed");
          return { minerId: member.id, blob, tokens };
        }),
      );
      this.tell(replicas, { type: "merge", at: this.at, contributions });
    }
    return Promise.all(members.map((member) => this.heard(member, "merged")));
  }

  async stored(member: FakeMember): Promise<MessageOf<"stored">> {
    this.tell([member], { type: "store-checkpoint", at: this.at });
    return this.heard(member, "stored");
  }

  /** Waits for a message of this kind, about the current epoch where it names one. */
  async heard<T extends ClientMessage["type"]>(member: FakeMember, type: T): Promise<MessageOf<T>> {
    const isIt = (message: ClientMessage): message is MessageOf<T> =>
      message.type === type &&
      (!("at" in message) || (message.at.epoch === this.at.epoch && message.at.attempt === this.at.attempt));
    await this.until(() => member.sent.some(isIt));
    return member.sent.filter(isIt).at(-1) as MessageOf<T>;
  }

  /** Waits until something is so; checks again whenever the event loop has turned. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await new Promise<void>((resolve) => setImmediate(resolve));
  }

  /** Lets everything happen that can happen by itself within so many turns of the event loop. */
  async turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
  }

  #member(index: number, stage: number): FakeMember {
    const id = minerIdSchema.parse(index.toString(16).padStart(64, "0"));
    const engines = new FakeEngines();
    const sent: ClientMessage[] = [];
    const log: string[] = [];
    const replica = new Replica({
      self: id,
      device: {
        platform: "fake",
        cpu: "fake",
        cores: 1,
        memoryBytes: 2 ** 30,
        memoryLimitBytes: 2 ** 30,
        backend: "reference",
        precision: "f32",
        adapter: null,
        blockTokensPerSecond: null,
      },
      threads: 1,
      engines,
      blobs: this.blobs,
      activity: new Activity(),
      clock: this.clock,
      send: (message) => sent.push(message),
      onState: () => {},
      log: (_level, text) => log.push(text),
    });
    return { id, stage, replica, engines, link: this.network.link(id), sent, log };
  }

  #stageSpec(stage: number) {
    const spec = cutIntoStages(model, this.#stages)[stage];
    if (spec === undefined) throw new Error(`no stage ${stage}`);
    return spec;
  }

  async #dataset(): Promise<BlobRef> {
    const tokens = Int32Array.from({ length: 1000 }, (_, index) => index % 256);
    const { manifest, files } = buildDataset({ train: tokens, validation: tokens }, byteTokenizer, 400, hashBytes);
    for (const file of files.values()) await this.blobs.put(file);
    return this.blobs.put(new TextEncoder().encode(JSON.stringify(manifest)));
  }
}
