/**
 * Who may use the local API. The port is open to every program and every web page on this computer, so each request must
 * name this computer (against DNS rebinding), come from our own page or from no page at all, and know the token, which is
 * in a file that only this person can read.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { FailureError } from "../../protocol/failure.ts";

/** Origins of a packaged app's own window. Any page may claim `null`, so these must show the token in a header, which pages cannot set. */
const appOrigins: ReadonlySet<string> = new Set(["file://", "null", "app://train-at-home"]);

export function createToken(): string {
  return randomBytes(32).toString("base64url");
}

/** Throws `FailureError` origin-refused unless the request was addressed to this computer by name or number. */
export function checkHost(request: IncomingMessage, port: number): void {
  const host = request.headers.host ?? "";
  if (host !== `127.0.0.1:${port}` && host !== `localhost:${port}`)
    throw new FailureError("origin-refused", `this is not ${JSON.stringify(host.slice(0, 100))}`, {
      action: `Use http://127.0.0.1:${port}.`,
    });
}

/** Throws `FailureError` origin-refused when the request comes from a page that is not ours. */
export function checkOrigin(request: IncomingMessage, port: number): void {
  const origin = request.headers.origin;
  if (origin === undefined || origin === `http://127.0.0.1:${port}` || origin === `http://localhost:${port}`) return;
  if (appOrigins.has(origin) && headerToken(request) !== undefined) return;
  throw new FailureError("origin-refused", `pages of ${JSON.stringify(origin.slice(0, 100))} may not use this daemon`);
}

/** Throws `FailureError` not-authorised unless the request shows the token, in a header or in its address. */
export function checkToken(request: IncomingMessage, token: string): void {
  const shown = headerToken(request) ?? addressOf(request).searchParams.get("token") ?? "";
  if (!equalInConstantTime(shown, token))
    throw new FailureError("not-authorised", "the token is missing or wrong", {
      action: "Open the dashboard with `tah open`, or read the token from daemon.json in the daemon's state folder.",
    });
}

/** The request's path and query. Throws `FailureError` malformed-message for what no client of ours would ask. */
export function addressOf(request: IncomingMessage): URL {
  const address = URL.parse(request.url ?? "/", "http://127.0.0.1");
  if (address === null) throw new FailureError("malformed-message", "this is not an address");
  return address;
}

function headerToken(request: IncomingMessage): string | undefined {
  return /^Bearer (\S+)$/.exec(request.headers.authorization ?? "")?.[1];
}

/** Comparing digests takes the same time wherever the first difference is, and hides the length. */
function equalInConstantTime(a: string, b: string): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
