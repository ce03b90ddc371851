/**
 * Makes direct connections in the miner's name: over UDP through home routers, encrypted, and with nobody but those it was told of
 * (hyperdht: UDX, Noise, hole punching). Its address is the miner's own key; the network's bootstrap nodes tell peers where it is.
 */
import { createPrivateKey } from "node:crypto";
import { isIP } from "node:net";
import HyperDHT, { type DhtAddress, type DhtKeyPair, type DhtServer, type NoiseSecretStream } from "hyperdht";
import { FailureError } from "../../protocol/failure.ts";
import type { Identity } from "../../protocol/identity.ts";
import { type MinerId, minerIdSchema } from "../../protocol/ids.ts";
import type { Dialer } from "./direct-link.ts";
import type { OpenStream } from "./direct-stream.ts";

export interface DirectNodeOptions {
  readonly identity: Identity;
  /** The network's; never empty. */
  readonly bootstrap: readonly DhtAddress[];
  readonly log: (text: string) => void;
}

export class DirectNode implements Dialer {
  readonly #node: HyperDHT;
  readonly #server: DhtServer;
  readonly #keyPair: DhtKeyPair;
  #admitted: ReadonlySet<MinerId> = new Set();
  #onStream: (open: OpenStream) => void = (open) => open.stream.destroy();

  constructor({ identity, bootstrap, log }: DirectNodeOptions) {
    this.#keyPair = keyPairOf(identity);
    const isLocal = bootstrap.every(({ host }) => isLoopback(host));
    // It stores nothing for others: the bootstrap nodes do.
    this.#node = new HyperDHT({ bootstrap, host: isLocal ? "127.0.0.1" : "0.0.0.0", ephemeral: true });
    this.#server = this.#node.createServer({ firewall: (key) => !this.#admitted.has(minerIdOf(key)) });
    this.#server.on("connection", (stream: NoiseSecretStream) => {
      stream.on("error", () => undefined); // `close` follows
      const open = openStream(stream);
      if (open === null) stream.destroy();
      else this.#onStream(open);
    });
    this.#server
      .listen(this.#keyPair)
      .catch((error: unknown) =>
        log(`No direct connections: ${error instanceof Error ? error.message : String(error)}`),
      );
  }

  admit(peers: ReadonlySet<MinerId>): void {
    this.#admitted = peers;
  }

  onStream(handler: (open: OpenStream) => void): void {
    this.#onStream = handler;
  }

  dial(peer: MinerId, signal: AbortSignal): Promise<OpenStream> {
    const { promise, resolve, reject } = Promise.withResolvers<OpenStream>();
    const fail = (cause?: unknown) => {
      reject(new FailureError("unreachable", `no direct connection to miner ${peer}`, { retry: true, cause }));
    };
    const stream = this.#node.connect(Buffer.from(peer, "hex"), { keyPair: this.#keyPair });
    const abort = () => stream.destroy();
    signal.addEventListener("abort", abort, { once: true });
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
    // Without taking leave of the bootstrap nodes: the next session announces itself anew.
    void this.#node.destroy({ force: true });
  }
}

function openStream(stream: NoiseSecretStream): OpenStream | null {
  const { handshakeHash, remotePublicKey } = stream;
  if (handshakeHash === null) return null;
  return { stream, peer: minerIdOf(remotePublicKey), id: handshakeHash.toString("hex") };
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

function isLoopback(host: string): boolean {
  return host === "localhost" || (isIP(host) === 4 && host.startsWith("127."));
}
