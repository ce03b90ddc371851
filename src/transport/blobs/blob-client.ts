/**
 * Fetches and stores blobs over HTTP (`docs/protocol.md`, "Blobs"), through a cache on disk. Every blob is checked against
 * its hash; a broken download goes on where it stopped; what may pass is tried again with growing pauses.
 */
import type { Agent as HttpsAgent } from "node:https";
import { setTimeout as pause } from "node:timers/promises";
import { type FailureCode, FailureError, failureOf } from "../../protocol/failure.ts";
import { hashBytes } from "../../protocol/identity.ts";
import type { BlobHash, BlobRef } from "../../protocol/ids.ts";
import type { BlobSource } from "../blob-serving.ts";
import type { Traffic } from "../traffic/traffic.ts";
import { BlobCache } from "./blob-cache.ts";
import { HttpTransfers, type TransferRequest } from "./http-transfers.ts";

export interface BlobClientOptions {
  /** http:// or https:// address of the gateway. */
  readonly url: string;
  /** Connects where the gateway is not to be known by an authority's certificate. */
  readonly agent?: HttpsAgent | undefined;
  /** The session's token; asked for at every request, because it changes with the session. */
  readonly token: () => string;
  readonly cacheFolder: string;
  readonly maxCacheBytes: number;
  readonly traffic: Traffic;
  /** Pauses before the second, third … attempt. */
  readonly pausesMs?: readonly number[];
  /** A transfer that stands still for so long has failed. */
  readonly stallMs?: number;
}

type Answer = Awaited<ReturnType<HttpTransfers["request"]>>;

interface CallOptions {
  readonly signal?: AbortSignal;
}

export class BlobClient {
  readonly #options: BlobClientOptions;
  readonly #transfers: HttpTransfers;
  readonly #cache: BlobCache;
  /** Downloads under way: two askers share one, and never write one file twice at once. */
  readonly #downloads = new Map<BlobHash, Promise<void>>();

  constructor(options: BlobClientOptions) {
    this.#options = options;
    this.#transfers = new HttpTransfers(options.url, options.traffic, options.stallMs ?? 30_000, options.agent);
    this.#cache = new BlobCache(options.cacheFolder, options.maxCacheBytes);
  }

  /** Rejects with `FailureError`: blob-not-found, blob-corrupt, not-authorised, unreachable, disk-full, cancelled. */
  async get(ref: BlobRef, { signal }: CallOptions = {}): Promise<Uint8Array> {
    for (;;) {
      const cached = await this.#cache.read(ref);
      if (cached !== null) return cached;
      const underWay = this.#downloads.get(ref.hash);
      if (underWay !== undefined) {
        await underWay.catch(() => undefined); // its failure is its asker's; this one tries by itself
        throwIfCancelled(signal);
        continue;
      }
      const download = this.#retrying(signal, () => this.#download(ref, signal));
      this.#downloads.set(ref.hash, download);
      await download.finally(() => this.#downloads.delete(ref.hash));
    }
  }

  /** Puts what is at hand into the cache, from where it can be read in parts until it is forgotten. Rejects with disk-full. */
  async keep(bytes: Uint8Array): Promise<{ readonly ref: BlobRef; readonly source: BlobSource }> {
    const ref = { hash: hashBytes(bytes), bytes: bytes.length };
    await this.#cache.write(ref, bytes, (hash) => this.#downloads.has(hash));
    const read = (offset: number, length: number) => this.#cache.readPart(ref, offset, length);
    return { ref, source: { bytes: ref.bytes, read } };
  }

  /** Stores `bytes` under their hash; sends nothing when the store has them. Rejects as `get`, and with message-too-large. */
  async put(bytes: Uint8Array, { signal }: CallOptions = {}): Promise<BlobRef> {
    const ref = { hash: hashBytes(bytes), bytes: bytes.length };
    await this.#retrying(signal, async () => {
      if (await this.#has(ref, signal)) return;
      const response = await this.#request(ref, { method: "PUT", body: bytes }, signal);
      response.resume();
      if (!isFine(response)) throw refusal(response, ref);
    });
    return ref;
  }

  async #has(ref: BlobRef, signal: AbortSignal | undefined): Promise<boolean> {
    const response = await this.#request(ref, { method: "HEAD" }, signal);
    response.resume();
    if (!isFine(response) && response.statusCode !== 404) throw refusal(response, ref);
    return isFine(response);
  }

  async #download(ref: BlobRef, signal: AbortSignal | undefined): Promise<void> {
    let offset = await this.#cache.partialBytes(ref);
    const headers: Record<string, string> = offset > 0 ? { range: `bytes=${offset}-` } : {};
    const response = await this.#request(ref, { headers }, signal);
    if (!isFine(response)) {
      response.resume();
      if (response.statusCode === 416) await this.#cache.dropPartial(ref);
      throw refusal(response, ref);
    }
    if (offset > 0 && response.statusCode !== 206) {
      await this.#cache.dropPartial(ref); // the store sends it all, from the beginning
      offset = 0;
    }
    // An empty blob has no chunk that would create its file.
    if (ref.bytes === 0) await this.#cache.append(ref, new Uint8Array(0));
    for await (const chunk of this.#transfers.chunks(response)) {
      offset += chunk.length;
      if (offset > ref.bytes) {
        await this.#cache.dropPartial(ref);
        throw new FailureError("blob-corrupt", `the blob ${ref.hash} is longer than ${ref.bytes} bytes`, {
          retry: true,
        });
      }
      await this.#cache.append(ref, chunk);
    }
    if (offset < ref.bytes) throw new FailureError("unreachable", "a download was cut short", { retry: true });
    await this.#cache.finish(ref, (hash) => this.#downloads.has(hash));
  }

  async #request(ref: BlobRef, request: Partial<TransferRequest>, signal: AbortSignal | undefined): Promise<Answer> {
    const headers = { ...request.headers, authorization: `Bearer ${this.#options.token()}` };
    try {
      return await this.#transfers.request(`/blobs/${ref.hash}`, { method: "GET", ...request, headers, signal });
    } catch (cause) {
      throwIfCancelled(signal);
      throw cause;
    }
  }

  /** A full store is waited for until the caller gives up: someone has to clear it, and the upload is no less needed then. */
  async #retrying(signal: AbortSignal | undefined, attempt: () => Promise<void>): Promise<void> {
    const pausesMs = this.#options.pausesMs ?? [200, 500, 1000, 2000, 5000];
    for (let tries = 0; ; tries++) {
      throwIfCancelled(signal);
      try {
        return await attempt();
      } catch (error) {
        throwIfCancelled(signal);
        const failure = failureOf(error);
        if (failure === undefined || !failure.retry) throw error;
        const pauseMs = pausesMs[failure.code === "disk-full" ? Math.min(tries, pausesMs.length - 1) : tries];
        if (pauseMs === undefined) throw error;
        await pause(pauseMs, undefined, { signal }).catch(() => throwIfCancelled(signal));
      }
    }
  }
}

const refusals: Readonly<Record<number, FailureCode>> = {
  401: "not-authorised",
  403: "not-authorised",
  404: "blob-not-found",
  413: "message-too-large",
  422: "blob-corrupt",
  507: "disk-full",
};

const passing: readonly (FailureCode | undefined)[] = [undefined, "blob-corrupt", "disk-full"];

function isFine({ statusCode = 0 }: Answer): boolean {
  return statusCode >= 200 && statusCode < 300;
}

function refusal({ statusCode = 0 }: Answer, ref: BlobRef): FailureError {
  const code = refusals[statusCode];
  return new FailureError(code ?? "unreachable", `the blob store answered ${statusCode} for ${ref.hash}`, {
    retry: passing.includes(code),
  });
}

function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new FailureError("cancelled", "the transfer was cancelled");
}
