/**
 * How bytes get from one miner to another, whatever lies between them. One link serves all peers of this miner; a peer is
 * its public key. Implementations: relay through the gateway (`frame-link.ts`), directly where that works
 * (`direct/direct-link.ts`), in memory for tests (`memory-link.ts`). The contract suite is `test/contract/peer-link.ts`.
 */
import type { MessageKind } from "../protocol/frames.ts";
import type { MinerId } from "../protocol/ids.ts";

export interface PeerMessage {
  readonly from: MinerId;
  readonly kind: MessageKind;
  readonly body: Uint8Array;
  /** Whether it came on a direct connection, on which nobody but its sender can have changed it. */
  readonly isDirect?: boolean;
}

export interface PeerLink {
  /**
   * Sends one message. Resolves when the link has taken all of it (the queue is bounded, so a slow peer slows the sender);
   * this is no acknowledgement, and the body must not be changed afterwards: it may have to be sent again. Rejects with
   * `FailureError`: `unreachable` when the link or the peer is known to be gone, `message-too-large`, `cancelled`. Messages to
   * one peer arrive complete, unchanged, at most once and in order of sending within one kind; a more urgent kind overtakes
   * (`messageKinds`).
   */
  send(to: MinerId, kind: MessageKind, body: Uint8Array, options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Called with each complete message. One handler; setting it again replaces it. */
  onMessage(handler: (message: PeerMessage) => void): void;
  /** Called when a peer turns out to be unreachable: what was sent to it and not yet delivered is lost. */
  onPeerLost(handler: (peer: MinerId) => void): void;
  /** Bytes handed over and received so far, payload and framing. */
  readonly traffic: { readonly sentBytes: number; readonly receivedBytes: number };
  close(): void;
}
