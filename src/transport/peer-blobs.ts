/**
 * Blobs from miner to miner: whoever has one offers it, whoever knows its hash fetches it, in parts, from any of those who have it
 * (`blob-request` and `blob-part` of `merge-messages.ts`). One for all places of a miner; it outlives links: what was on its way
 * when one was lost goes on over the next. A hash is told to those who may have the blob, so whoever names it is served, within
 * limits.
 */
import { type FailureError, failureOf } from "../protocol/failure.ts";
import { hashBytes } from "../protocol/identity.ts";
import type { BlobHash, MinerId } from "../protocol/ids.ts";
import { blobPartSchema, blobRequestSchema, decodeBody, encodeBody } from "../protocol/merge-messages.ts";
import { BlobFetch, type FetchOptions } from "./blob-fetch.ts";
import { BlobServing, type BlobSource, memorySource, type Offered } from "./blob-serving.ts";
import type { PeerLink, PeerMessage } from "./peer-link.ts";
import { RoundTrip } from "./round-trip.ts";
import { limitsOf, type WantedBlob } from "./wanted-blob.ts";

export interface PeerBlobsOptions {
  readonly clock: {
    nowMs(): number;
    /** Calls `action` once; the returned function calls it off. */
    after(delayMs: number, action: () => void): () => void;
  };
  /** A peer's message was not usable. */
  readonly dropped: (from: MinerId, failure: FailureError) => void;
}

export class PeerBlobs {
  readonly #options: PeerBlobsOptions;
  readonly #serving = new BlobServing((to, part) => this.#send(to, "blob-part", encodeBody(part)));
  readonly #fetches = new Map<BlobHash, Set<BlobFetch>>();
  readonly #roundTrips = new Map<MinerId, RoundTrip>();
  readonly #silent = new Set<MinerId>();
  #link: PeerLink | null = null;

  constructor(options: PeerBlobsOptions) {
    this.#options = options;
  }

  /** How many blobs are offered at the moment. */
  get offeredBlobs(): number {
    return this.#serving.offeredBlobs;
  }

  connected(link: PeerLink): void {
    this.#link = link;
    this.#each((fetch) => fetch.connected());
  }

  disconnected(): void {
    this.#link = null;
    this.#each((fetch) => fetch.disconnected());
  }

  peerLost(peer: MinerId): void {
    this.#each((fetch) => fetch.peerLost(peer));
  }

  /** Lets others fetch these bytes, which must not change before the offer is withdrawn. `hash`: if it is known. */
  offer(bytes: Uint8Array, hash: BlobHash = hashBytes(bytes)): Offered {
    return this.#serving.offer(hash, memorySource(bytes));
  }

  /** As `offer`, for bytes that lie elsewhere. */
  offerSource(hash: BlobHash, source: BlobSource): Offered {
    return this.#serving.offer(hash, source);
  }

  /**
   * Fetches a blob from one of `holders`, in this order; what this miner offers itself it has at hand, shared: it is not to be
   * changed. Rejects with `FailureError`: blob-not-found when nobody has it, timed-out when those who may have it are silent,
   * cancelled.
   */
  async get(wanted: WantedBlob, holders: readonly MinerId[], options: FetchOptions = {}): Promise<Uint8Array> {
    const own = await this.#serving.read(wanted.hash);
    const { least, most } = limitsOf(wanted.bytes);
    if (own !== null && own.length >= least && own.length <= most) return own;
    const fetch = await this.#begin(wanted, holders, options);
    const others = this.#fetches.get(wanted.hash) ?? new Set();
    this.#fetches.set(wanted.hash, others.add(fetch));
    try {
      return await fetch.run();
    } finally {
      others.delete(fetch);
      if (others.size === 0) this.#fetches.delete(wanted.hash);
    }
  }

  /** On its own, so that what was kept is not in memory twice for as long as the rest takes. */
  async #begin(wanted: WantedBlob, holders: readonly MinerId[], options: FetchOptions): Promise<BlobFetch> {
    const begun = (await options.partial?.read()) ?? new Uint8Array(0);
    const { clock } = this.#options;
    return new BlobFetch(
      wanted,
      holders,
      this.#link !== null,
      {
        ask: (holder, request) => void this.#send(holder, "blob-request", encodeBody(request)),
        roundTrip: (holder) => this.#roundTrip(holder),
        silent: this.#silent,
        nowMs: () => clock.nowMs(),
        after: (delayMs, action) => clock.after(delayMs, action),
      },
      options,
      begun,
    );
  }

  /** How long to wait for a peer's answer to something small, by what was measured of it. */
  patienceMs(peer: MinerId): number {
    return this.#roundTrip(peer).timeoutMs(1);
  }

  /** Takes messages of the kinds `blob-request` and `blob-part`. */
  receive({ from, kind, body }: PeerMessage): void {
    try {
      if (kind === "blob-request") this.#serving.asked(from, decodeBody(blobRequestSchema, body));
      else {
        const part = decodeBody(blobPartSchema, body);
        for (const fetch of this.#fetches.get(part.hash) ?? []) fetch.received(from, part);
      }
    } catch (error) {
      if (failureOf(error) === undefined) throw error;
      this.#options.dropped(from, error as FailureError);
    }
  }

  /** What cannot be sent is not missed: whoever needs it asks again. */
  async #send(to: MinerId, kind: "blob-request" | "blob-part", body: Uint8Array): Promise<void> {
    try {
      await this.#link?.send(to, kind, body);
    } catch (error) {
      if (failureOf(error) === undefined) throw error;
    }
  }

  #roundTrip(peer: MinerId): RoundTrip {
    const roundTrip = this.#roundTrips.get(peer) ?? new RoundTrip();
    this.#roundTrips.set(peer, roundTrip);
    return roundTrip;
  }

  #each(act: (fetch: BlobFetch) => void): void {
    for (const fetches of [...this.#fetches.values()]) for (const fetch of [...fetches]) act(fetch);
  }
}
