/**
 * For tests and the benchmark: replicas of one stage, wired by memory links, on engines that hold nothing but a vector. Real are the
 * merge and the exchange of blobs. Whatever is delivered, between replicas or to and from the orchestrator, is a moment at which one may
 * die.
 */

import type { ClientMessage } from "../../protocol/client-messages.ts";
import { hashBytes } from "../../protocol/identity.ts";
import { type MinerId, minerIdSchema, runIdSchema } from "../../protocol/ids.ts";
import { decodeBody, encodeBody, mergeMessageSchema } from "../../protocol/merge-messages.ts";
import { noCompression } from "../../protocol/run-config.ts";
import { type AddressedMessage, type Fate, MemoryNetwork } from "../../transport/memory-link.ts";
import { PeerBlobs } from "../../transport/peer-blobs.ts";
import type { PeerLink } from "../../transport/peer-link.ts";
import type { Samples } from "../data/samples-from-blobs.ts";
import { FakeBlobs } from "../flow/fake-blobs.ts";
import type { Phase } from "../flow/phase.ts";
import { PhaseKeeper } from "../flow/phase-keeper.ts";
import type { Place } from "../flow/place.ts";
import { Holding } from "../flow/starting-state.ts";
import { FakeClock } from "../session/fake-clock.ts";
import { type FakeContribution, FakeVectorEngine } from "./fake-vector-engine.ts";
import { MergeActs, type MergeOrder } from "./merge-acts.ts";
import { PastMerges } from "./past-merges.ts";

export const fakePlace: Place = {
  type: "prepare",
  at: { runId: runIdSchema.parse("run"), epoch: 3, attempt: 0, stage: 1 },
  stage: { index: 1, count: 3, fromLayer: 1, toLayer: 2 },
  model: {
    vocabulary: 256,
    width: 4,
    layers: 3,
    heads: 2,
    keyValueHeads: 1,
    feedForward: 4,
    context: 8,
    rotaryBase: 10_000,
    normEpsilon: 1e-5,
  },
  training: {
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
  },
  dataset: { manifest: { hash: hashBytes(new Uint8Array()), bytes: 0 } },
  checkpoint: null,
  memoryLimitBytes: 2 ** 30,
};

export interface FakeMember {
  readonly id: MinerId;
  readonly engine: FakeVectorEngine;
  readonly link: PeerLink;
  readonly peerBlobs: PeerBlobs;
  readonly acts: MergeActs;
  readonly phases: PhaseKeeper;
  readonly log: string[];
}

const noSamples: Samples = {
  sample: () => Promise.reject(new Error("nobody trains here")),
};

/** Turns of the event loop in which nothing is delivered, after which only time can go on. */
const quietTurns = 30;
const quietMs = 250;

export class FakeSwarm {
  readonly clock = new FakeClock();
  readonly network = new MemoryNetwork();
  readonly members: readonly FakeMember[];
  readonly live = new Set<MinerId>();
  /** Those of the live who are away, as the orchestrator sees it. */
  readonly away = new Set<MinerId>();
  /** What becomes of messages between replicas. */
  fate: (message: AddressedMessage) => Fate = () => "deliver";
  /** Gets what replicas report. */
  onReport: (from: MinerId, message: ClientMessage) => void = () => {};
  /** Told when something in a replica's merge went wrong. */
  onFailed: (id: MinerId, error: unknown) => void = (_, error) => {
    throw error;
  };
  /** Told of each death. */
  onDeath: (id: MinerId) => void = () => {};
  readonly place: Place;
  #moments = 0;
  /** Who is to die, by moment. */
  readonly #deaths = new Map<number, MinerId[]>();

  /** `contributions`: what each replica brings, and its tokens. They start from weights of zero. */
  constructor(contributions: readonly FakeContribution[], place: Place = fakePlace) {
    this.place = place;
    this.members = contributions.map((contribution, index) => {
      const id = minerIdSchema.parse((index + 1).toString(16).padStart(64, "0"));
      return this.#member(id, new FakeVectorEngine(contribution, place.training));
    });
    for (const { id } of this.members) this.live.add(id);
    this.network.fate = (message) => {
      this.#moment();
      return this.live.has(message.from) && this.live.has(message.to) ? this.fate(message) : "drop";
    };
  }

  /** Deliveries so far, between replicas or to and from the orchestrator. */
  get moments(): number {
    return this.#moments;
  }

  isOnRoster(id: MinerId): boolean {
    return this.live.has(id) && !this.away.has(id);
  }

  member(id: MinerId): FakeMember {
    const member = this.members.find((each) => each.id === id);
    if (member === undefined) throw new Error(`no member ${id}`);
    return member;
  }

  /** Gives a live replica an order of the orchestrator, soon. */
  order(to: MinerId, order: MergeOrder): void {
    setImmediate(() => {
      this.#moment();
      if (this.live.has(to))
        this.member(to).acts.handle(this.place, order, { meanLossNats: null, computeMs: 0, boundary: null });
    });
  }

  /** Ends a replica at once. The others learn it as they would: by the roster, and when they write to it. */
  kill(id: MinerId): void {
    if (!this.live.delete(id)) return;
    const { phases, peerBlobs } = this.member(id);
    this.network.remove(id);
    peerBlobs.disconnected();
    phases.enter({ kind: "ended", place: fakePlace });
    for (const member of this.members) if (this.live.has(member.id)) member.acts.lookAgain();
    this.onDeath(id);
  }

  /** Ends the replica of this number right before a delivery. */
  killAt(index: number, moment: number): void {
    const { id } = this.members[index] ?? {};
    if (id !== undefined) this.#deaths.set(moment, [...(this.#deaths.get(moment) ?? []), id]);
  }

  /** Waits until something is so. Time passes while nothing else happens, up to ten minutes. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      const before = this.#moments;
      for (let turn = 0; turn < quietTurns && before === this.#moments && !isSo(); turn++)
        await new Promise((resolve) => setImmediate(resolve));
      if (before === this.#moments && !isSo()) this.clock.advance(quietMs);
      if (this.clock.nowMs() > 600_000) throw new Error("nothing happens any more");
    }
  }

  #moment(): void {
    this.#moments += 1;
    for (const id of this.#deaths.get(this.#moments) ?? []) this.kill(id);
  }

  #member(id: MinerId, engine: FakeVectorEngine): FakeMember {
    const log: string[] = [];
    const link = this.network.link(id);
    const peerBlobs = new PeerBlobs({ clock: this.clock, dropped: (_, { message }) => log.push(message) });
    const holding = new Holding();
    const weightsHash = engine.weightsHash();
    holding.current = {
      engine,
      openedFor: this.place,
      parameters: engine.parameters,
      memoryBytes: 0,
      epoch: 3,
      weightsHash,
    };
    const phases = new PhaseKeeper(
      { kind: "ready", place: this.place, samples: noSamples },
      {
        entered: (phase: Phase) => acts.entered(phase),
        failed: (error) => this.onFailed(id, error),
      },
    );
    const acts = new MergeActs(
      {
        self: id,
        peerBlobs,
        clock: this.clock,
        pastMerges: new PastMerges(
          { blobs: new FakeBlobs(), peerBlobs, log: () => undefined },
          fakePlace.training,
          engine.parameters,
        ),
        tell: (to, message) => void link.send(to, "merge", encodeBody(message)).catch(() => undefined),
        isLive: (miner) => this.isOnRoster(miner),
        send: (message) => this.#report(id, message),
        log: (_, text) => log.push(text),
      },
      phases,
      holding,
      () => undefined,
    );
    link.onMessage((message) => {
      if (message.kind === "merge") acts.receive(message.from, decodeBody(mergeMessageSchema, message.body));
      else peerBlobs.receive(message);
    });
    link.onPeerLost((peer) => peerBlobs.peerLost(peer));
    peerBlobs.connected(link);
    return { id, engine, link, peerBlobs, acts, phases, log };
  }

  #report(from: MinerId, message: ClientMessage): void {
    setImmediate(() => {
      this.#moment();
      if (this.live.has(from)) this.onReport(from, message);
    });
  }
}
