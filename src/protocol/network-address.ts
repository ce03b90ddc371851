/**
 * How people name a network: `wss://HOST:PORT`, and behind a `#`, which never travels, what is this miner's and the network's alone:
 * `invitation=TOKEN`, `network=KEY` and `certificate=SHA256`, separated by commas.
 */
import { z } from "zod";
import { FailureError } from "./failure.ts";
import { type MinerId, minerIdSchema } from "./ids.ts";

export interface NetworkAddress {
  /** Without what is behind the `#`: fit to be shown. */
  readonly url: string;
  readonly invitation: string | null;
  /** The network's key; null: whatever network answers there is meant. */
  readonly networkId: MinerId | null;
  /** SHA-256 of the gateway's certificate, in lower-case hex; null: it must be one that this computer trusts. */
  readonly certificateSha256: string | null;
}

const extrasSchema = z.strictObject({
  invitation: z
    .string()
    .regex(/^[\w-]{1,200}$/, "an invitation is letters, digits, - and _")
    .optional(),
  network: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "a network's key is 64 hex digits")
    .pipe(minerIdSchema)
    .optional(),
  certificate: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "a certificate's SHA-256 is 64 hex digits")
    .optional(),
});

/** Throws `FailureError` (invalid-option) with what is wrong with it. */
export function parseNetworkAddress(text: string): NetworkAddress {
  if (!URL.canParse(text) || !/^wss?:/.test(text)) throw invalid("it is not the address of a network");
  const [url = "", fragment = ""] = text.split("#", 2);
  const pairs = fragment.split(",").filter((part) => part !== "");
  const extras = extrasSchema.safeParse(Object.fromEntries(pairs.map((pair) => pair.split("=", 2))));
  if (!extras.success) throw invalid(extras.error.issues.map(({ message }) => message).join("; "));
  const { invitation = null, network = null, certificate = null } = extras.data;
  if (certificate !== null && !url.startsWith("wss:")) throw invalid("only wss:// addresses have a certificate");
  return { url, invitation, networkId: network, certificateSha256: certificate };
}

/** With how its certificate is known, which is no secret, and without an invitation, which is one. */
export function shareableAddress({ url, certificateSha256 }: NetworkAddress): string {
  return certificateSha256 === null ? url : `${url}#certificate=${certificateSha256}`;
}

/** What was typed is not repeated: it may hold an invitation. */
function invalid(what: string): FailureError {
  return new FailureError("invalid-option", `The network's address cannot be used: ${what}.`, {
    action: "Give an address such as ws://192.168.1.10:7700.",
  });
}
