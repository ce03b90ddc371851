/**
 * Makes direct connections in the miner's name: over UDP through home routers, encrypted, and with nobody but those it was told of
 * (hyperdht: UDX, Noise, hole punching). Its address is the miner's own key; the network's bootstrap nodes tell peers where it is.
 */
import { createPrivateKey } from "node:crypto";
import type HyperDHT from "hyperdht";
import type { DhtAddress, DhtKeyPair, DhtServer, NoiseSecretStream } from "hyperdht";
import { FailureError } from "../../protocol/failure.ts";
import type { Identity } from "../../protocol/identity.ts";
import { type MinerId, minerIdSchema } from "../../protocol/ids.ts";
import { isLoopback } from "../loopback.ts";
import type { Dialer } from "./direct-link.ts";
import type { OpenStream } from "./direct-stream.ts";

/** An idle connection says so often that it lives: routers remember it, and silence means something (`direct-connection.ts`). */
const keepAliveMs = 1000;

export interface DirectNodeOptions {
  readonly identity: Identity;
  /** The network's; never empty. */
  readonly bootstrap: readonly DhtAddress[];
  readonly log: (text: string) => void;
}

interface OpenNode {
  readonly node: HyperDHT;
  readonly server: DhtServer;
}

export class DirectNode implements Dialer {
  readonly #keyPair: DhtKeyPair;
  /** Rejects where it cannot work: its native parts do not load, or no port can be had. */
  readonly #opened: Promise<OpenNode>;
  #admitted: ReadonlySet<MinerId> = new Set();
  #onStream: (open: OpenStream) => void = (open) => open.stream.destroy();

  constructor({ identity, bootstrap, log }: DirectNodeOptions) {
    this.#keyPair = keyPairOf(identity);
    this.#opened = this.#open(bootstrap);
    this.#opened.catch((error: unknown) =>
      log(`No direct connections: ${error instanceof Error ? error.message : String(error)}`),
    );
  }

  admit(peers: ReadonlySet<MinerId>): void {
    this.#admitted = peers;
  }

  onStream(handler: (open: OpenStream) => void): void {
    this.#onStream = handler;
  }

  async dial(peer: MinerId, signal: AbortSignal): Promise<OpenStream> {
    const { node } = await this.#opened;
    const { promise, resolve, reject } = Promise.withResolvers<OpenStream>();
    const fail = (cause?: unknown) => {
      reject(new FailureError("unreachable", `no direct connection to miner ${peer}`, { retry: true, cause }));
    };
    const stream = node.connect(Buffer.from(peer, "hex"), { keyPair: this.#keyPair });
    const abort = () => stream.destroy();
    signal.addEventListener("abort", abort, { once: true });
    if (signal.aborted) abort();
    stream.on("error", fail);
    stream.on("close", () => {
      signal.removeEventListener("abort", abort);
      fail();
    });
    stream.on("open", () => {
      signal.removeEventListener("abort", abort);
      const open = openStream(stream);
      if (open?.peer === peer) resolve(open);
      else stream.destroy();
    });
    return promise;
  }

  close(): void {
    // The server's end stops what it does in the background; nobody waits for it to take leave of the bootstrap nodes.
    this.#opened.then(({ node, server }) => Promise.all([server.close(), node.destroy({ force: true })])).catch(noop);
  }

  /** Loaded only where it is used, so that a machine for which it was not built trains all the same. */
  async #open(bootstrap: readonly DhtAddress[]): Promise<OpenNode> {
    const { default: Node } = await import("hyperdht");
    const isLocal = bootstrap.every(({ host }) => isLoopback(host));
    // Ephemeral: it stores nothing for others, the bootstrap nodes do.
    const host = isLocal ? "127.0.0.1" : "0.0.0.0";
    const node = new Node({ bootstrap, host, ephemeral: true, connectionKeepAlive: keepAliveMs });
    const server = node.createServer({ firewall: (key) => !this.#admitted.has(minerIdOf(key)) });
    server.on("connection", (stream: NoiseSecretStream) => {
      stream.on("error", noop); // `close` follows
      const open = openStream(stream);
      if (open === null) stream.destroy();
      else this.#onStream(open);
    });
    // It goes on announcing itself in the background; peers may be dialled before.
    server.listen(this.#keyPair).catch(noop);
    return { node, server };
  }
}

function noop(): void {}

function openStream(stream: NoiseSecretStream): OpenStream | null {
  const { handshakeHash, rawStream, remotePublicKey } = stream;
  if (handshakeHash === null || rawStream === null) return null;
  return { stream, rawStream, peer: minerIdOf(remotePublicKey), id: handshakeHash.toString("hex") };
}

function minerIdOf(publicKey: Buffer): MinerId {
  return minerIdSchema.parse(Buffer.from(publicKey).toString("hex"));
}

/** The identity's own key, as libsodium writes it: the seed, then the public key. */
function keyPairOf(identity: Identity): DhtKeyPair {
  const { d } = createPrivateKey(identity.exportPrivateKeyPem()).export({ format: "jwk" });
  const publicKey = Buffer.from(identity.minerId, "hex");
  return { publicKey, secretKey: Buffer.concat([Buffer.from(d ?? "", "base64url"), publicKey]) };
}
