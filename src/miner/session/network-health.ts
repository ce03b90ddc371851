/** Asks a network how it is. */
import { type Failure, FailureError } from "../../protocol/failure.ts";
import { parseNetworkAddress } from "../../protocol/network-address.ts";
import { type NetworkHealth, networkHealthSchema } from "../../protocol/network-health.ts";
import { HttpTransfers } from "../../transport/blobs/http-transfers.ts";
import { agentFor } from "../../transport/pinned-agent.ts";
import { Traffic } from "../../transport/traffic/traffic.ts";
import { parseJson } from "../json.ts";
import { systemClock } from "./clock.ts";
import { notOpened, unreachable } from "./unreachable.ts";

const answerMs = 8000;
/** Far more than the runs of any network take. */
const mostBytes = 1 << 20;

/**
 * Rejects with `FailureError`: unreachable, bad-signature where the gateway is another one, too-many-connections,
 * message-too-large, malformed-message.
 */
export async function askHealth(networkAddress: string): Promise<NetworkHealth> {
  const { url, certificateSha256 } = parseNetworkAddress(networkAddress);
  const signal = AbortSignal.timeout(answerMs);
  const agent = agentFor(certificateSha256);
  const transfers = new HttpTransfers(url.replace(/^ws/, "http"), new Traffic(systemClock), answerMs, agent);
  try {
    const answer = await transfers.request("/health", { method: "GET", headers: () => ({}), signal });
    if (answer.statusCode !== 200) throw failed(notOpened(answer.statusCode), url);
    return parseHealth(await textOf(transfers.chunks(answer)), url);
  } catch (error) {
    // What the transfer failed with says more than that it did.
    throw error instanceof FailureError && error.cause instanceof Error ? failed(unreachable(error.cause), url) : error;
  }
}

/** Rejects with `FailureError` (message-too-large). */
async function textOf(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of chunks) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > mostBytes) throw new FailureError("message-too-large", `More than ${mostBytes} bytes of an answer.`);
  }
  return Buffer.concat(pieces).toString("utf8");
}

function parseHealth(text: string, url: string): NetworkHealth {
  const parsed = networkHealthSchema.safeParse(parseJson(text));
  if (parsed.success) return parsed.data;
  throw new FailureError("malformed-message", `${url}: what answers there is no network of this version.`, {
    action: "Check the address; else update Train at Home on both computers.",
  });
}

function failed(failure: Failure, url: string): FailureError {
  return new FailureError(failure.code, `${url}: ${failure.message}`, failure);
}
