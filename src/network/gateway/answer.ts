/** What the routes of the gateway's port share. */
import type { IncomingMessage, ServerResponse } from "node:http";

/** For a client to notice that its upload is refused, and what is read of it meanwhile. */
const unwantedMs = 2000;
const unwantedBytes = 256 << 10;

/** That the client shows, as it got it with `welcome`. */
export function bearerToken({ headers }: IncomingMessage): string | undefined {
  return /^Bearer (\S+)$/.exec(headers.authorization ?? "")?.[1];
}

/**
 * Answers. What a client is still sending then is not wanted: a little of it is read and thrown away for a moment, since a connection
 * that is cut at once takes the answer with it. Who may not ask at all begins anew, for connections are limited and requests are not.
 */
export function answer(request: IncomingMessage, response: ServerResponse, status: number, text: string): void {
  if (!request.complete || status === 401 || status === 403) response.setHeader("connection", "close");
  if (!request.complete) {
    let readBytes = 0;
    request.on("data", (chunk: Buffer) => {
      readBytes += chunk.length;
      if (readBytes > unwantedBytes) request.pause();
    });
    const patience = setTimeout(() => request.destroy(), unwantedMs);
    request.once("close", () => clearTimeout(patience));
  }
  response.writeHead(status, { "content-type": "text/plain" }).end(request.method === "HEAD" ? undefined : text);
}
