/** A live gateway over real runs, a small one to begin with, and hand-driven clients: the stage for the gateway's tests. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pack } from "msgpackr";
import { WebSocket } from "ws";
import { Admission, type AdmissionPolicy } from "../../src/network/admission/admission.ts";
import { CheckpointArchive } from "../../src/network/checkpoints/archive.ts";
import { Gateway } from "../../src/network/gateway/gateway.ts";
import type { GatewayOptions } from "../../src/network/gateway/gateway-options.ts";
import { fakeDevice, fakeHash } from "../../src/network/orchestrator/core/fake-swarm.ts";
import { stateBlobBytes } from "../../src/network/orchestrator/core/starting-state.ts";
import { placeRef, type RunState } from "../../src/network/orchestrator/core/state.ts";
import { monotonicClock, type Orchestrator } from "../../src/network/orchestrator/orchestrator.ts";
import type { RunOptions } from "../../src/network/run-options.ts";
import { Runs } from "../../src/network/runs/runs.ts";
import type { ServedRun } from "../../src/network/runs/served-run.ts";
import { EmbeddedStore } from "../../src/network/store/embedded-store.ts";
import type { ClientMessage } from "../../src/protocol/client-messages.ts";
import { bodyOf, ControlChannel, sessionDigest } from "../../src/protocol/control-channel.ts";
import type { DeviceReport } from "../../src/protocol/device-report.ts";
import { decodeFrame, encodeFrame, type Frame, isFrame } from "../../src/protocol/frames.ts";
import type { GatewayMessage } from "../../src/protocol/gateway-messages.ts";
import { createIdentity, hashBytes, type Identity, sessionProof } from "../../src/protocol/identity.ts";
import { type BlobRef, type PlaceRef, type RunId, runIdSchema } from "../../src/protocol/ids.ts";
import { controlMarker, decodeGatewayMessage, encodeMessage, protocolVersion } from "../../src/protocol/messages.ts";
import type { OwnerAnswer, OwnerCommand } from "../../src/protocol/owner-commands.ts";
import { FileBlobStore } from "../../src/transport/blobs/file-blob-store.ts";

export interface GatewayWorld {
  readonly runs: Runs;
  /** Of the run that the world begins with. */
  readonly orchestrator: Orchestrator;
  readonly gateway: Gateway;
  readonly store: EmbeddedStore;
  readonly blobs: FileBlobStore;
  readonly networkId: string;
  /** The network's own key. */
  readonly identity: Identity;
  readonly admission: Admission;
  readonly stateFolder: string;
  /** What the gateway logged: bugs. */
  readonly logged: readonly string[];
  /** A file with another text than the first run's. */
  readonly otherText: string;
  /** Another run like the first. */
  addRun(name: string, options?: Partial<RunOptions>): Promise<ServedRun>;
  connect(): Promise<FakeClient>;
  /** Connects, says hello and has read the first run-update. */
  enter(options?: HelloOptions): Promise<FakeClient>;
  /** Clients that hold the run's places, ready and in training, in the order of their stages. */
  train(): Promise<FakeClient[]>;
  /** As `train`, and on from there to where each has been asked to store what it merged. */
  merge(): Promise<MergedStage[]>;
  close(): Promise<void>;
}

export interface MergedStage {
  readonly member: FakeClient;
  /** In the epoch that was merged. */
  readonly at: PlaceRef;
  readonly weights: Buffer<ArrayBuffer>;
  readonly optimizer: Buffer<ArrayBuffer>;
  readonly state: { readonly weights: BlobRef; readonly optimizer: BlobRef };
  readonly moments: BlobRef | null;
}

interface HelloOptions {
  readonly identity?: Identity;
  readonly role?: "miner" | "observer";
}

type MessageOf<T extends GatewayMessage["type"]> = Extract<GatewayMessage, { type: T }>;

type WorldOptions = Partial<Omit<GatewayOptions, "admission">> & { readonly admission?: AdmissionPolicy };

export async function openGatewayWorld(options: WorldOptions = {}): Promise<GatewayWorld> {
  const folder = await mkdtemp(join(tmpdir(), "gateway-"));
  const identity = createIdentity();
  const networkId = identity.minerId;
  const clock = monotonicClock();
  const logged: string[] = [];
  const store = await EmbeddedStore.open(join(folder, "network.sqlite"));
  const blobs = await FileBlobStore.open({ folder: join(folder, "blobs"), maxBlobBytes: 1 << 20 });
  const failures: unknown[] = [];
  const onFailed = (error: unknown) => failures.push(error);
  const archive = await CheckpointArchive.open({ stateFolder: folder, blobs, log: () => undefined });
  const runs = await Runs.open({
    store,
    blobs,
    archive,
    identity,
    networkId,
    clock,
    log: () => undefined,
    onFailed,
    diskFullPauseMs: 10,
  });
  const data = join(folder, "text.txt");
  await writeFile(data, "Call me Ishmael. Some years ago. ".repeat(100));
  const otherText = join(folder, "other.txt");
  await writeFile(otherText, "All my means are sane. ".repeat(100));
  const addRun = (name: string, part: Partial<RunOptions> = {}) =>
    runs.create({ preset: "tiny", runId: runIdSchema.parse(name), stages: 2, replicas: 1, data, ...part });
  const { orchestrator } = await addRun("test-run");
  const { admission: policy = { kind: "open" }, owners = new Set(), ...gatewayOptions } = options;
  const log = (text: string) => logged.push(text);
  const admission = new Admission({ policy, networkId, stateFolder: folder, owners, clock, log });
  const gateway = await Gateway.listen({
    host: "127.0.0.1",
    port: 0,
    identity,
    runs,
    blobs,
    owners,
    admission,
    clock,
    log,
    ...gatewayOptions,
  });
  const clients = new Set<FakeClient>();
  const connect = async () => {
    const client = new FakeClient(`ws://127.0.0.1:${gateway.port}/session`, fakeDevice(orchestrator.state.definition));
    clients.add(client);
    await client.next("challenge");
    return client;
  };
  const enter = async (hello: HelloOptions = {}) => {
    const client = await connect();
    client.hello(hello);
    await client.next("welcome");
    await client.next("run-update");
    return client;
  };
  const train = async () => {
    const members = [await enter(), await enter()];
    for (const member of members) member.join();
    const places: FakeClient[] = [];
    for (const member of members) {
      const { at } = await member.next("prepare");
      places[at.stage] = member;
      member.send({ type: "ready", at, weightsHash: fakeHash("initial") });
    }
    for (const member of members) await member.next("start");
    return places;
  };
  return {
    runs,
    orchestrator,
    otherText,
    addRun,
    store,
    gateway,
    blobs,
    networkId,
    identity,
    admission,
    stateFolder: folder,
    logged,
    connect,
    enter,
    train,
    async merge() {
      const members = await train();
      const { state } = orchestrator;
      const merged = members.map((member, stage) => mergedStage(state, member, stage));
      for (const { member, at } of merged.slice(0, 1))
        member.send({ type: "source-done", at, microbatchesDone: 4, microbatchesLost: 0 });
      for (const { member, at } of merged) {
        await member.next("upload");
        const share = { tokens: 256, lossSumNats: at.stage === 1 ? 512 : null, computeMs: 1000, boundary: null };
        member.send({ type: "contributed", at, manifest: fakeHash(`contribution ${at.stage}`), ...share });
      }
      for (const one of merged) {
        const { partitions } = await one.member.next("reduce");
        const slices = partitions.map((partition) => ({
          partition,
          hash: fakeHash(`slice ${partition}`),
          missing: [],
        }));
        one.member.send({ type: "reduced", at: one.at, slices, outliers: [] });
        await one.member.next("apply");
        one.member.send({ type: "merged", at: one.at, weightsHash: one.state.weights.hash });
      }
      for (const { member, at, state: snapshot, moments } of merged) {
        await member.next("take-snapshot");
        member.send({ type: "snapshot", at, state: { ...snapshot, moments } });
      }
      for (const { member } of merged) await member.next("store-checkpoint");
      return merged;
    },
    async close() {
      for (const client of clients) client.end();
      await runs.close();
      await gateway.close();
      admission.close();
      await store.close();
      await rm(folder, { recursive: true });
      if (failures.length > 0) throw failures[0];
    },
  };
}

function mergedStage(run: RunState, member: FakeClient, stage: number): MergedStage {
  const parameters = run.stages[stage]?.parameters ?? 0;
  const bytes = stateBlobBytes(run.definition.training, parameters);
  const weights = Buffer.alloc(bytes.weights, stage + 1);
  const optimizer = Buffer.alloc(bytes.optimizer, stage + 7);
  const refOf = (bytes: Uint8Array) => ({ hash: hashBytes(bytes), bytes: bytes.length });
  const state = { weights: refOf(weights), optimizer: refOf(optimizer) };
  const moments = bytes.moments === null ? null : refOf(Buffer.alloc(bytes.moments));
  return { member, at: placeRef(run, stage), weights, optimizer, state, moments };
}

/** A client that does exactly what a test tells it to. */
export class FakeClient {
  readonly socket: WebSocket;
  /** Resolves with the close code. */
  readonly closed: Promise<number>;
  identity: Identity = createIdentity();
  challenge: MessageOf<"challenge"> | null = null;
  /** Once it has said hello: what it sends is signed from then on, and what it hears after the gateway's first signed message too. */
  channel: ControlChannel | null = null;
  blobToken = "";
  readonly frames: Frame[] = [];
  readonly #received: GatewayMessage[] = [];
  readonly #device: DeviceReport;
  #challengeBytes: Uint8Array = new Uint8Array();
  #heardSigned = false;
  #changed: () => void = () => undefined;
  #isClosed = false;
  #nextCommandId = 1;

  constructor(url: string, device: DeviceReport) {
    this.#device = device;
    this.socket = new WebSocket(url, { perMessageDeflate: false });
    this.socket.on("message", (data: Buffer) => {
      if (isFrame(data)) this.frames.push(decodeFrame(data));
      else this.#take(data);
      this.#changed();
    });
    this.socket.on("error", () => undefined); // `close` follows
    this.closed = new Promise((resolve) => {
      this.socket.on("close", (code) => {
        this.#isClosed = true;
        this.#changed();
        resolve(code);
      });
    });
  }

  /** The next message of a type that no call has taken yet; rejects when the connection closes first. */
  async next<T extends GatewayMessage["type"]>(
    type: T,
    matches: (message: MessageOf<T>) => boolean = () => true,
  ): Promise<MessageOf<T>> {
    for (;;) {
      const index = this.#received.findIndex((one) => one.type === type && matches(one as MessageOf<T>));
      if (index !== -1) return this.#received.splice(index, 1)[0] as MessageOf<T>;
      if (this.#isClosed) throw new Error(`closed while waiting for ${type}`);
      await this.#change();
    }
  }

  async nextFrame(): Promise<Frame> {
    for (;;) {
      const frame = this.frames.shift();
      if (frame !== undefined) return frame;
      if (this.#isClosed) throw new Error("closed while waiting for a frame");
      await this.#change();
    }
  }

  /** Resolves once the gateway has handled everything sent so far: pings are answered in their turn. */
  async flushed(): Promise<void> {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    await Promise.race([new Promise((resolve) => this.socket.once("pong", resolve).ping()), this.closed]);
  }

  received<T extends GatewayMessage["type"]>(type: T): readonly MessageOf<T>[] {
    return this.#received.filter((one): one is MessageOf<T> => one.type === type);
  }

  hello({ identity = this.identity, role = "miner" }: HelloOptions = {}): void {
    this.identity = identity;
    this.sayHello(this.helloMessage(role));
  }

  sayHello(hello: ClientMessage): void {
    if (this.challenge === null) throw new Error("not challenged yet");
    const { networkId: peer } = this.challenge;
    const bytes = encodeMessage(hello);
    const session = sessionDigest(this.#challengeBytes, bytes);
    this.sendBytes(bytes);
    this.channel = new ControlChannel({ speaker: "client", identity: this.identity, peer, session });
  }

  helloMessage(role: "miner" | "observer" = "miner"): Extract<ClientMessage, { type: "hello" }> {
    if (this.challenge === null) throw new Error("not challenged yet");
    const { nonce, networkId } = this.challenge;
    const signature = Uint8Array.from(this.identity.sign(sessionProof(nonce, networkId, role)));
    const { minerId } = this.identity;
    return { type: "hello", protocol: protocolVersion, software: "test", role, minerId, name: "tester", signature };
  }

  /** What the network answers to this command. */
  async command(command: OwnerCommand): Promise<OwnerAnswer> {
    const id = this.#nextCommandId++;
    this.send({ type: "owner-command", id, command });
    return (await this.next("owner-answer", (message) => message.id === id)).answer;
  }

  /** The run that it is assigned to next. */
  async nextAssigned(): Promise<RunId | null> {
    return (await this.next("assigned")).runId;
  }

  /** With memory for one stage. */
  join(held: readonly PlaceRef[] = []): void {
    this.send({ type: "join", device: this.#device, held });
  }

  send(message: ClientMessage): void {
    this.sendBody(encodeMessage(message));
  }

  /** Whatever another version may say. */
  sendUnchecked(message: object): void {
    this.sendBody(Buffer.concat([Buffer.of(controlMarker), pack(message)]));
  }

  /** Signed, once hello is said, whatever it is. */
  sendBody(bytes: Uint8Array): void {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    this.sendBytes(this.channel?.seal(bodyOf(bytes), performance.now()) ?? bytes);
  }

  sendFrame(frame: Frame): void {
    this.sendBytes(encodeFrame(frame));
  }

  sendBytes(bytes: Uint8Array | string): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(bytes);
  }

  end(): void {
    this.socket.terminate();
  }

  #take(data: Buffer): void {
    const message = decodeGatewayMessage(this.#opened(data));
    if (message.type === "challenge") {
      this.challenge = message;
      this.#challengeBytes = data;
    }
    if (message.type === "welcome") this.blobToken = message.blobToken;
    this.#received.push(message);
  }

  /** A gateway that refuses the hello does not sign it: it need not know who this is. */
  #opened(data: Buffer): Uint8Array {
    if (this.channel === null || (!this.#heardSigned && data[0] === controlMarker)) return data;
    this.#heardSigned = true;
    return this.channel.open(data, performance.now());
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = resolve;
    });
  }
}
