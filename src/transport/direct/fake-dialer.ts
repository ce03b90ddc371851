/** Direct connections in one process, for tests: what is written to one lies there until the test delivers it, or loses it. */
import { EventEmitter } from "node:events";
import { FailureError } from "../../protocol/failure.ts";
import type { MinerId } from "../../protocol/ids.ts";
import type { Dialer } from "./direct-link.ts";
import type { DirectStream, OpenStream } from "./direct-stream.ts";

class FakeStream extends EventEmitter implements DirectStream {
  readonly rawStream = {
    bytesTransmitted: 0,
    packetsTransmitted: 0,
    bytesReceived: 0,
    packetsReceived: 0,
    inflight: 0,
    rtt: 7,
    remoteHost: null,
  };
  /** Written, and not delivered yet. */
  readonly written: Uint8Array[] = [];
  destroyed = false;
  readonly #isStuck: () => boolean;

  constructor(isStuck: () => boolean) {
    super();
    this.#isStuck = isStuck;
  }

  write(bytes: Uint8Array): boolean {
    this.written.push(Uint8Array.from(bytes));
    this.rawStream.bytesTransmitted += bytes.length;
    this.rawStream.inflight += bytes.length;
    return !this.#isStuck();
  }

  destroy(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    queueMicrotask(() => this.emit("close"));
  }
}

/** Both ends of a connection. */
export class FakeConnection {
  readonly ends: readonly [FakeStream, FakeStream];

  constructor(isStuck: () => boolean) {
    this.ends = [new FakeStream(isStuck), new FakeStream(isStuck)];
  }

  /** One write of that end arrives at the other one. False: there is none. */
  deliver(end: 0 | 1): boolean {
    const [from, to] = end === 0 ? this.ends : [this.ends[1], this.ends[0]];
    const bytes = from.written.shift();
    if (bytes === undefined) return false;
    from.rawStream.inflight -= bytes.length;
    if (!to.destroyed) {
      to.rawStream.packetsReceived += 1;
      to.emit("data", Buffer.from(bytes));
    }
    if (from.written.length === 0) from.emit("drain");
    return true;
  }

  /** That end notices that the connection is gone; what it wrote is lost. */
  break(end: 0 | 1): void {
    this.ends[end].destroy();
    this.ends[end].written.length = 0;
  }
}

export class FakeDirectNetwork {
  /** All that there have been, the newest last. */
  readonly connections: FakeConnection[] = [];
  /** Whether connections can be made. */
  isOpen = true;
  /** Whether streams say that they are full after every write. */
  isStuck = false;
  readonly #handlers = new Map<MinerId, (open: OpenStream) => void>();
  readonly #admitted = new Map<MinerId, ReadonlySet<MinerId>>();

  dialer(self: MinerId): Dialer {
    return {
      admit: (peers) => void this.#admitted.set(self, peers),
      onStream: (handler) => void this.#handlers.set(self, handler),
      dial: async (peer) => this.#dial(self, peer),
      close: () => void this.#handlers.delete(self),
    };
  }

  #dial(self: MinerId, peer: MinerId): OpenStream {
    const accept = this.#handlers.get(peer);
    if (!this.isOpen || accept === undefined || !this.#admitted.get(peer)?.has(self))
      throw new FailureError("unreachable", "nobody answers", { retry: true });
    const connection = new FakeConnection(() => this.isStuck);
    this.connections.push(connection);
    const id = this.connections.length.toString(16).padStart(16, "0");
    const [here, there] = connection.ends;
    accept({ stream: there, rawStream: there.rawStream, peer: self, id });
    return { stream: here, rawStream: here.rawStream, peer, id };
  }
}
