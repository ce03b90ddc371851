/** One client of the local API: its requests, its events, and its limits. */
import type { RawData, WebSocket } from "ws";
import { type Failure, FailureError } from "../../protocol/failure.ts";
import { type ApiEvent, type ApiReply, closeCodes } from "../../protocol/local-api.ts";
import type { Feed } from "./feed.ts";
import { type Answer, answerRequest, type Handlers } from "./handlers.ts";

/** Requests of one client that are answered at the same time; it is not read from while there are more. */
const maxConcurrentRequests = 16;

export interface ClientOptions {
  readonly feed: Feed;
  readonly handlers: Handlers;
  readonly maxBufferedBytes: number;
  readonly onBug: (what: string, error: unknown) => void;
}

export function serveClient(client: WebSocket, { feed, handlers, maxBufferedBytes, onBug }: ClientOptions): void {
  let answering = 0;

  function send(message: ApiEvent | ApiReply): void {
    if (client.readyState !== client.OPEN) return;
    // It does not read what it is sent: keeping more for it would only fill this machine's memory.
    if (client.bufferedAmount > maxBufferedBytes) client.terminate();
    else client.send(JSON.stringify(message));
  }

  async function answer(bytes: Buffer): Promise<void> {
    answering += 1;
    if (answering >= maxConcurrentRequests) client.pause();
    const { reply, close }: Answer = await answerRequest(handlers, bytes, onBug);
    answering -= 1;
    send(reply);
    if (close !== undefined) client.close(closeCodes[close], reply.ok ? "" : reply.failure.code);
    if (client.isPaused && client.readyState === client.OPEN) client.resume();
  }

  client.on("message", (data, isBinary) => {
    if (client.readyState !== client.OPEN) return; // it is being closed: nothing more is done for it
    if (isBinary) refuse(client, binaryFailure, closeCodes.malformed);
    else void answer(bufferOf(data));
  });
  client.on("close", feed.subscribe(send));
}

const binaryFailure = new FailureError("malformed-message", "requests are JSON text, not binary").failure;

/** Says why, then closes. */
export function refuse(client: WebSocket, failure: Failure, closeCode: number): void {
  const reply: ApiReply = { reply: null, ok: false, failure };
  client.send(JSON.stringify(reply));
  client.close(closeCode, failure.code);
}

function bufferOf(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
