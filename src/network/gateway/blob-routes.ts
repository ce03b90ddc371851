/** `GET`, `HEAD` and `PUT /blobs/HASH`: see "Blobs" in docs/protocol.md. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as pause } from "node:timers/promises";
import { type FailureCode, FailureError, failureOf } from "../../protocol/failure.ts";
import { type BlobHash, blobHashSchema, type MinerId } from "../../protocol/ids.ts";
import type { FileBlobStore } from "../../transport/blobs/file-blob-store.ts";
import type { RateLimit } from "../rate-limit.ts";
import type { UploadBudgets } from "../runs/upload-budgets.ts";
import { answer, bearerToken } from "./answer.ts";
import { gatheredBody } from "./gathered-body.ts";
import type { BlobRequest } from "./port.ts";
import type { Hello } from "./session-handlers.ts";

/** A transfer that stands still for so long is given up, milliseconds. */
const stallMs = 60_000;

/** What a request of somebody without a place counts as, next to what it fetches: looking takes this computer's time as well. */
const guestRequestBytes = 64 << 10;

const overBudget = "more than this miner was asked to store";

const statusOf: Partial<Record<FailureCode, number>> = {
  "blob-not-found": 404,
  "blob-corrupt": 422,
  "message-too-large": 413,
  "disk-full": 507,
};

/** Whose token it is. */
export type Bearer = Pick<Hello, "minerId" | "role">;

export interface BlobRoutesOptions {
  readonly blobs: FileBlobStore;
  /** Undefined: no open session has this token. */
  readonly bearerOf: (token: string) => Bearer | undefined;
  /** Whether the miner has a place in an epoch: who has none is given blobs slowly. */
  readonly isMember: (minerId: MinerId) => boolean;
  /** Of the run that the miner works for; undefined: it works for none. */
  readonly budgetsOf: (minerId: MinerId) => UploadBudgets | undefined;
  /** A transfer stood still for too long. */
  readonly onStalled: () => void;
  readonly onBug: (error: unknown) => void;
  readonly stallMs?: number;
}

export class BlobRoutes {
  readonly #blobs: FileBlobStore;
  readonly #bearerOf: (token: string) => Bearer | undefined;
  readonly #budgetsOf: BlobRoutesOptions["budgetsOf"];
  readonly #isMember: BlobRoutesOptions["isMember"];
  readonly #onStalled: () => void;
  readonly #onBug: (error: unknown) => void;
  readonly #stallMs: number;

  constructor(options: BlobRoutesOptions) {
    this.#blobs = options.blobs;
    this.#bearerOf = options.bearerOf;
    this.#budgetsOf = options.budgetsOf;
    this.#isMember = options.isMember;
    this.#onStalled = options.onStalled;
    this.#onBug = options.onBug;
    this.#stallMs = options.stallMs ?? stallMs;
  }

  async handle({ request, response, name, household }: BlobRequest): Promise<void> {
    const token = bearerToken(request);
    const bearer = token === undefined ? undefined : this.#bearerOf(token);
    if (bearer === undefined) return answer(request, response, 401, "no valid token");
    if (bearer.role === "observer") return answer(request, response, 403, "observers have no use for blobs");
    const hash = blobHashSchema.safeParse(name);
    if (!hash.success) return answer(request, response, 400, "not a blob's name");
    this.#giveUpStalled(request, response);
    try {
      if (request.method === "PUT") await this.#put(request, response, hash.data, bearer.minerId);
      else if (request.method === "GET" || request.method === "HEAD") {
        const limit = this.#isMember(bearer.minerId) ? null : household.fetched;
        await waitWithin(limit, guestRequestBytes);
        await this.#get(request, response, hash.data, limit);
      } else answer(request, response, 405, "GET, HEAD or PUT");
    } catch (error) {
      this.#fail(request, response, error);
    }
  }

  /** A request says so while it comes, an answer while it leaves, or both; between the two it is this computer's disk that takes long. */
  #giveUpStalled(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request;
    const giveUp = () => {
      const isOursToMove = request.complete && !response.headersSent;
      if (socket.destroyed || isOursToMove) return;
      this.#onStalled();
      socket.destroy();
    };
    request.setTimeout(this.#stallMs, giveUp);
    response.setTimeout(this.#stallMs, giveUp);
  }

  async #put(request: IncomingMessage, response: ServerResponse, hash: BlobHash, minerId: MinerId): Promise<void> {
    const budgets = this.#budgetsOf(minerId);
    const remainingBytes = budgets?.remainingBytes(minerId, hash);
    if (budgets === undefined || remainingBytes === undefined)
      return answer(request, response, 403, "only who was asked for a blob stores it");
    const bytes = Number(request.headers["content-length"] ?? 0);
    if (bytes > remainingBytes) return answer(request, response, 413, overBudget);
    if (bytes > this.#blobs.maxBlobBytes)
      return answer(request, response, 413, `a blob has at most ${this.#blobs.maxBlobBytes} bytes`);
    // Not destroyed when it is refused half-way: the connection still has to carry the answer.
    const chunks = gatheredBody(request);
    await this.#blobs.receive(
      hash,
      charged(chunks, (chunkBytes) => budgets.spend(minerId, hash, chunkBytes)),
    );
    answer(request, response, 201, "stored");
  }

  async #get(
    request: IncomingMessage,
    response: ServerResponse,
    hash: BlobHash,
    limit: RateLimit | null,
  ): Promise<void> {
    const bytes = (await this.#blobs.isIntact(hash)) ? this.#blobs.bytesOf(hash) : undefined;
    if (bytes === undefined) return answer(request, response, 404, "no such blob");
    const range = parseRange(request.headers.range, bytes);
    response.setHeader("accept-ranges", "bytes");
    response.setHeader("content-type", "application/octet-stream");
    if (range === "unsatisfiable") {
      response.setHeader("content-range", `bytes */${bytes}`);
      return answer(request, response, 416, "beyond the blob's end");
    }
    const { start, end: last } = range ?? { start: 0, end: bytes - 1 };
    if (range !== null) response.setHeader("content-range", `bytes ${start}-${last}/${bytes}`);
    response.setHeader("content-length", last - start + 1);
    response.statusCode = range === null ? 200 : 206;
    if (request.method === "HEAD" || bytes === 0) response.end();
    else {
      const stream = this.#blobs.stream(hash, { start, end: last });
      await pipeline(stream, (chunks: Readable) => within(limit, chunks), response);
    }
  }

  #fail(request: IncomingMessage, response: ServerResponse, error: unknown): void {
    const failure = failureOf(error);
    const connectionLost = request.socket.destroyed;
    if (failure === undefined && !connectionLost) this.#onBug(error);
    if (connectionLost || response.headersSent) response.destroy();
    else
      answer(request, response, (failure && statusOf[failure.code]) ?? 500, failure?.message ?? "a bug in the network");
  }
}

async function* within(limit: RateLimit | null, chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    await waitWithin(limit, chunk.length);
    yield chunk;
  }
}

async function waitWithin(limit: RateLimit | null, bytes: number): Promise<void> {
  const waitMs = limit?.spend(bytes) ?? 0;
  if (waitMs > 0) await pause(waitMs);
}

/** Bytes count when they come, also those of an upload that breaks off: until then nobody knows how many there are. */
async function* charged(
  chunks: AsyncIterable<Uint8Array>,
  spend: (bytes: number) => boolean,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    if (!spend(chunk.length)) throw new FailureError("message-too-large", overBudget);
    yield chunk;
  }
}

/** A single range; null when there is none that this server understands, and the whole is to be sent. */
function parseRange(
  header: string | undefined,
  bytes: number,
): { start: number; end: number } | "unsatisfiable" | null {
  const match = /^bytes=(\d+)-(\d*)$/.exec(header ?? "");
  if (match === null) return null;
  const start = Number(match[1]);
  const end = match[2] === "" ? bytes - 1 : Math.min(Number(match[2]), bytes - 1);
  return start > end || start >= bytes ? "unsatisfiable" : { start, end };
}
