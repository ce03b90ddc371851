/**
 * The HTTP of a blob client: requests whose bytes are counted at the socket and pass within what the miner's owner allows. Over
 * `node:http`, since `fetch` hides its sockets.
 */
import { once } from "node:events";
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { FailureError, failureOf } from "../../protocol/failure.ts";
import type { Traffic } from "../traffic/traffic.ts";
import { Lanes } from "./lanes.ts";

/** For a server that looks through a large blob before it answers. */
const answerMs = 300_000;
/** About what the head of a request, and of an answer, takes. */
const headBytes = 300;

/**
 * Each direction's requests under way: enough to fill a line, and few enough that forty computers behind one address stay below what the
 * gateway lets an address open (`address-limits.ts`). What is large in one direction does not hold up the other, nor the question
 * (HEAD) whether an upload is needed.
 */
const mostAtOnce = 2;

/** Of the time that an upload takes, in one that the link alone holds up. */
const mostWaited = 0.1;

export interface TransferRequest {
  readonly method: "GET" | "HEAD" | "PUT";
  /** Asked for when it is sent, which may be long after it was asked for. */
  readonly headers: () => Readonly<Record<string, string>>;
  readonly body?: TransferBody;
  readonly signal: AbortSignal | undefined;
}

/** What is sent, read piece by piece as the link takes it. */
export interface TransferBody {
  readonly bytes: number;
  /** The next piece, of at most so many bytes. What it rejects with is what the request rejects with. */
  next(mostBytes: number): Promise<Uint8Array>;
}

/** Of an upload: when it began, how long it waited for its turns, and why its body ended too early. */
interface Sending {
  readonly begunAtMs: number;
  waitedMs: number;
  failure: unknown;
}

export class HttpTransfers {
  readonly #baseUrl: string;
  readonly #traffic: Traffic;
  readonly #stallMs: number;
  readonly #agent: HttpAgent;
  readonly #uploads = new Lanes(mostAtOnce);
  readonly #downloads = new Lanes(mostAtOnce);

  /** `stallMs`: a download that stands still for so long has failed. `agent` connects to https:// addresses. */
  constructor(baseUrl: string, traffic: Traffic, stallMs: number, agent?: HttpsAgent) {
    this.#baseUrl = baseUrl;
    this.#traffic = traffic;
    this.#stallMs = stallMs;
    this.#agent = baseUrl.startsWith("https:")
      ? (agent ?? new HttpsAgent({ keepAlive: true }))
      : new HttpAgent({ keepAlive: true });
  }

  /**
   * The answer's head; its body is `chunks`, or is dropped by `resume`: until it has ended it keeps others waiting. Rejects with
   * `FailureError` (unreachable, cancelled).
   */
  async request(path: string, { method, headers, body, signal }: TransferRequest): Promise<IncomingMessage> {
    const leave = await (method === "GET" ? this.#downloads : this.#uploads).enter(signal);
    const send = this.#agent instanceof HttpsAgent ? requestHttps : requestHttp;
    const length = body === undefined ? undefined : { "content-length": String(body.bytes) };
    const request = send(new URL(path, this.#baseUrl), {
      method,
      headers: { ...headers(), ...length },
      agent: this.#agent,
      ...(signal !== undefined && { signal }),
    });
    request.once("close", leave);
    request.once("socket", (socket) => {
      this.#traffic.watch(socket);
      this.#traffic.wrote(headBytes);
    });
    request.setTimeout(answerMs, () => request.destroy(unreachable("the blob store does not answer")));
    const sending: Sending = { begunAtMs: performance.now(), waitedMs: 0, failure: undefined };
    // Whatever goes wrong shows in the answer, in its body, or in the lack of either.
    request.on("error", () => undefined);
    const answered: Promise<readonly IncomingMessage[]> = once(request, "response");
    if (body === undefined) request.end();
    else void pipeline(Readable.from(this.#paced(body, sending)), request).catch(() => undefined);
    const [response] = await answered.catch((error: unknown) => {
      const cause = sending.failure ?? error;
      throw failureOf(cause) === undefined ? unreachable("the blob store does not answer", cause) : cause;
    });
    if (response === undefined) throw unreachable("the blob store does not answer");
    this.#traffic.read(headBytes);
    // Refused before the end of the body: the rest of it is not wanted.
    response.once("end", () => request.writableFinished || request.destroy());
    // What the store refuses it may not have taken.
    if (body !== undefined && response.statusCode === 201) this.#stored(body.bytes, sending);
    return response;
  }

  /** The body as it arrives. Throws `FailureError` (unreachable) when it breaks off, or stands still. */
  async *chunks(response: IncomingMessage): AsyncGenerator<Uint8Array> {
    let alarm: NodeJS.Timeout | undefined;
    const watchOut = () => {
      alarm = setTimeout(() => response.destroy(unreachable("a download stands still")), this.#stallMs);
    };
    try {
      watchOut();
      for await (const chunk of response as AsyncIterable<Buffer>) {
        clearTimeout(alarm);
        this.#traffic.read(chunk.length);
        this.#traffic.link.arrived(chunk.length);
        yield chunk;
        // What is not read fills the receive window, and the sender waits.
        await this.#traffic.download.turn("background");
        watchOut();
      }
    } catch (cause) {
      throw failureOf(cause) === undefined ? unreachable("a download broke off", cause) : cause;
    } finally {
      clearTimeout(alarm);
    }
  }

  /** Asked for the next piece when the one before has left for the socket. */
  async *#paced({ bytes, next }: TransferBody, sending: Sending): AsyncGenerator<Uint8Array> {
    for (let sentBytes = 0; sentBytes < bytes; ) {
      const piece = await next(this.#traffic.backgroundChunkBytes).catch((failure: unknown) => {
        sending.failure = failure;
        throw failure;
      });
      const askedAtMs = performance.now();
      await this.#traffic.backgroundTurn();
      sending.waitedMs += performance.now() - askedAtMs;
      sentBytes += piece.length;
      this.#traffic.wroteInBackground(piece.length);
      yield piece;
    }
  }

  /** What gave way to others says nothing about the link. */
  #stored(bytes: number, { begunAtMs, waitedMs }: Sending): void {
    const elapsedMs = performance.now() - begunAtMs;
    if (waitedMs < mostWaited * elapsedMs) this.#traffic.link.stored(bytes, elapsedMs);
  }
}

function unreachable(message: string, cause?: unknown): FailureError {
  return new FailureError("unreachable", message, { retry: true, cause });
}
