/** Does one thing in the operating system's key store, for the process that started it (`os-secrets.ts`), and ends. */
import type { AsyncEntry } from "@napi-rs/keyring";
import { assertNever } from "../../protocol/assert-never.ts";
import { type SecretReply, type SecretRequest, secretRequestSchema } from "./os-secrets-messages.ts";

/** Under which people find it in their key store's own window. */
const service = "Train at Home";

process.once("message", async (message) => {
  process.send?.(await reply(secretRequestSchema.parse(message)));
});
// Not `exit`, which would wait for a call that waits for a person.
process.once("disconnect", () => process.kill(process.pid, "SIGKILL"));

async function reply(request: SecretRequest): Promise<SecretReply> {
  try {
    return { ok: true, secret: await perform(request) };
  } catch (error) {
    return { ok: false, reason: (error instanceof Error ? error.message : String(error)).slice(0, 1000) };
  }
}

async function perform(request: SecretRequest): Promise<string | null> {
  const entry = await entryOf(request.account);
  switch (request.operation) {
    case "read":
      return entry.getPassword();
    case "write":
      await entry.setPassword(request.secret);
      return null;
    case "remove":
      await entry.deletePassword();
      return null;
    default:
      return assertNever(request);
  }
}

async function entryOf(account: string): Promise<AsyncEntry> {
  // Loaded here, so that a platform without a binary is a reason like others.
  const { AsyncEntry: Entry } = await import("@napi-rs/keyring");
  // Left alone, it falls back to the kernel's keyring, which forgets everything at a restart.
  return new Entry(service, account, { linux: { store: "secret-service" } });
}
