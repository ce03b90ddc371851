/** The part of an encrypted stream that a direct connection needs; hyperdht's has it. */
import type { RawStream } from "hyperdht";
import type { MinerId } from "../../protocol/ids.ts";

export interface DirectStream {
  on(event: "data", listener: (bytes: Buffer) => void): unknown;
  on(event: "drain" | "close", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  once(event: "close", listener: () => void): unknown;
  /** False: `drain` follows. */
  write(bytes: Uint8Array): boolean;
  destroy(): void;
}

/** One whose handshake is over: the other end has proven to be `peer`. */
export interface OpenStream {
  readonly stream: DirectStream;
  /** What it is made of, which counts. */
  readonly rawStream: RawStream;
  readonly peer: MinerId;
  /** The handshake's hash, in hex: the same at both ends. */
  readonly id: string;
}
