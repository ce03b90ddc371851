/** What the routes of the gateway's port share. */
import type { IncomingMessage, ServerResponse } from "node:http";

/** For a client to notice that its upload is refused. */
const unwantedMs = 2000;

/** That the client shows, as it got it with `welcome`. */
export function bearerToken({ headers }: IncomingMessage): string | undefined {
  return /^Bearer (\S+)$/.exec(headers.authorization ?? "")?.[1];
}

/**
 * Answers. What a client is still sending then is not wanted: it is read and thrown away for a moment, since a connection
 * that is cut at once takes the answer with it.
 */
export function answer(request: IncomingMessage, response: ServerResponse, status: number, text: string): void {
  if (!request.complete) {
    response.setHeader("connection", "close");
    request.resume();
    const patience = setTimeout(() => request.destroy(), unwantedMs);
    request.once("close", () => clearTimeout(patience));
  }
  response.writeHead(status, { "content-type": "text/plain" }).end(request.method === "HEAD" ? undefined : text);
}
