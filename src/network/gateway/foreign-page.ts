/** Tells a web page that reaches for the network through its reader's browser from a program that means to. */
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { hostname } from "node:os";

/**
 * Whether a page in a browser asks: programs name no origin. Where a page has its own name point to this computer the browser
 * sees no other origin and names none; then the name gives it away.
 */
export function isForeignPage({ headers, socket }: IncomingMessage): boolean {
  return headers.origin !== undefined || (isLoopback(socket.remoteAddress) && !namesThisComputer(headers.host));
}

export function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(::1$|(::ffff:)?127\.)/.test(address);
}

/** By `localhost`, its own name, or any number: a number is nobody's to point elsewhere. */
function namesThisComputer(host: string | undefined): boolean {
  const url = host !== undefined && URL.canParse(`http://${host}`) ? new URL(`http://${host}`) : null;
  if (url === null) return false;
  const name = url.hostname.replace(/^\[(.*)\]$/, "$1");
  return isIP(name) !== 0 || name === "localhost" || name === hostname().toLowerCase();
}
