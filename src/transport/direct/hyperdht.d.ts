/** The part of hyperdht 6 that is used here; it brings no types. */
declare module "hyperdht" {
  import type { EventEmitter } from "node:events";

  export interface DhtAddress {
    readonly host: string;
    readonly port: number;
  }

  export interface DhtKeyPair {
    /** ed25519, 32 bytes. */
    readonly publicKey: Buffer;
    /** The seed and the public key, 64 bytes. */
    readonly secretKey: Buffer;
  }

  /** A UDX stream; counts include UDX's own headers, and go on being readable after it has closed. */
  export interface RawStream {
    readonly bytesTransmitted: number;
    readonly packetsTransmitted: number;
    readonly bytesReceived: number;
    readonly packetsReceived: number;
    /** Sent and not known to have arrived, or to be lost. */
    readonly inflight: number;
    /** Smoothed, milliseconds. */
    readonly rtt: number;
    readonly remoteHost: string | null;
  }

  /** Keeps the borders of what is written: each `data` is one write of the other side. */
  export interface NoiseSecretStream extends EventEmitter {
    readonly remotePublicKey: Buffer;
    /** Null until the handshake is over. */
    readonly handshakeHash: Buffer | null;
    readonly rawStream: RawStream | null;
    /** False: wait for `drain`. At most 16 MiB at once. */
    write(bytes: Uint8Array): boolean;
    destroy(error?: Error): void;
  }

  export interface DhtServer extends EventEmitter {
    listen(keyPair: DhtKeyPair): Promise<unknown>;
    close(): Promise<void>;
  }

  export interface DhtOptions {
    readonly bootstrap: readonly DhtAddress[];
    readonly host: string;
    readonly ephemeral?: boolean;
    /** Milliseconds between signs of life on idle streams. */
    readonly connectionKeepAlive?: number;
  }

  export default class HyperDHT extends EventEmitter {
    constructor(options: DhtOptions);
    /** A node that others begin with, reached at `host`. It listens on `options.host`. */
    static bootstrapper(port: number, host: string, options: DhtOptions): HyperDHT;
    /** Rejects when the port cannot be listened on. */
    bind(): Promise<void>;
    createServer(options: {
      /** True: refused. */
      readonly firewall: (remotePublicKey: Buffer) => boolean;
    }): DhtServer;
    connect(remotePublicKey: Buffer, options: { readonly keyPair: DhtKeyPair }): NoiseSecretStream;
    fullyBootstrapped(): Promise<void>;
    /** `to`: where that node sees this one. Rejects when it does not answer. */
    ping(address: DhtAddress): Promise<{ readonly to: DhtAddress }>;
    destroy(options?: { readonly force?: boolean }): Promise<void>;
  }
}
