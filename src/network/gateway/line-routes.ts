/**
 * `GET` and `PUT /line/BYTES`: bytes that mean nothing, for whoever has a session to measure a line with (`docs/protocol.md`, "Measuring a
 * line"). All of it comes off what training has, so few measure at once, and what a household, and all together, may move is bounded.
 */
import { randomBytes } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { finished, pipeline } from "node:stream/promises";
import { mostLineBytes } from "../../protocol/line-view.ts";
import { RateLimit } from "../rate-limit.ts";
import { householdOf } from "./address-limits.ts";
import { answer, bearerToken } from "./answer.ts";

const periodSeconds = 600;
/** In a period, both directions together: two measurements of a line that is as fast as they go. */
const householdBytes = 8 * mostLineBytes;
const networkBytes = 4 * householdBytes;
/** Transfers, of all and of a household. */
const mostAtOnce = 4;
const mostOfHousehold = 2;
/** For one transfer. A line that takes longer is not worth measuring any further. */
const transferMs = 15_000;
/** Sent again and again; nothing on the way can make less of it. */
const noise = randomBytes(64 << 10);

export interface LineRoutesOptions {
  /** Whether an open session has this token. */
  readonly isToken: (token: string) => boolean;
  readonly clock: () => number;
}

interface Household {
  readonly moved: RateLimit;
  underWay: number;
}

export class LineRoutes {
  readonly #options: LineRoutesOptions;
  readonly #all: RateLimit;
  readonly #households = new Map<string, Household>();
  #underWay = 0;

  constructor(options: LineRoutesOptions) {
    this.#options = options;
    this.#all = new RateLimit(networkBytes / periodSeconds, networkBytes, options.clock);
  }

  /** `address`: of who asks. `name`: what follows `/line/`. */
  async handle(request: IncomingMessage, response: ServerResponse, address: string, name: string): Promise<void> {
    const token = bearerToken(request);
    if (token === undefined || !this.#options.isToken(token)) return answer(request, response, 401, "no valid token");
    const bytes = /^\d{1,9}$/.test(name) ? Number(name) : Number.POSITIVE_INFINITY;
    const isPut = request.method === "PUT";
    if (!isPut && request.method !== "GET") return answer(request, response, 405, "GET or PUT");
    if (bytes > mostLineBytes || (isPut && Number(request.headers["content-length"]) !== bytes))
      return answer(request, response, 400, `a number of bytes up to ${mostLineBytes}, which a PUT has`);
    // A round trip: it moves nothing, and finds its way beside transfers.
    if (bytes === 0) return answer(request, response, isPut ? 204 : 200, "");
    const household = this.#household(householdOf(address));
    if (!this.#admits(household, bytes)) return answer(request, response, 429, "measured enough for now");
    household.underWay += 1;
    this.#underWay += 1;
    const patience = setTimeout(() => request.destroy(), transferMs);
    try {
      if (isPut) await receive(request, response);
      else await send(response, bytes);
    } catch {
      response.destroy(); // whoever measures has gone, or took too long
    } finally {
      clearTimeout(patience);
      household.underWay -= 1;
      this.#underWay -= 1;
    }
  }

  /** Forgets households of which there is nothing to remember. */
  sweep(): void {
    for (const [name, { moved, underWay }] of this.#households)
      if (underWay === 0 && moved.isRested) this.#households.delete(name);
  }

  #household(name: string): Household {
    const known = this.#households.get(name);
    if (known !== undefined) return known;
    const moved = new RateLimit(householdBytes / periodSeconds, householdBytes, this.#options.clock);
    const household = { moved, underWay: 0 };
    this.#households.set(name, household);
    return household;
  }

  #admits({ moved, underWay }: Household, bytes: number): boolean {
    if (underWay >= mostOfHousehold || this.#underWay >= mostAtOnce) return false;
    return moved.admit(bytes) && this.#all.admit(bytes);
  }
}

async function send(response: ServerResponse, bytes: number): Promise<void> {
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": bytes });
  await pipeline(Readable.from(pieces(bytes)), response);
}

function* pieces(bytes: number): Generator<Uint8Array> {
  for (let left = bytes; left > 0; left -= noise.length) yield noise.subarray(0, left);
}

/** Answers once everything has come. */
async function receive(request: IncomingMessage, response: ServerResponse): Promise<void> {
  await finished(request.resume());
  response.writeHead(204).end();
}
