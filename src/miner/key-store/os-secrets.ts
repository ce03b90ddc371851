/**
 * Short texts in the operating system's key store: macOS Keychain, Windows Credential Manager, or what offers freedesktop.org's Secret
 * Service. A call there may wait for a person for ever and cannot be broken off, so each runs in a process of its own, which is killed
 * when its time is up. Secrets pass between the two by a channel, never by arguments or the environment.
 */
import { fork, type StdioOptions } from "node:child_process";
import { fileURLToPath } from "node:url";
import { FailureError } from "../../protocol/failure.ts";
import { type SecretReply, type SecretRequest, secretReplySchema } from "./os-secrets-messages.ts";

/** By account. All reject with `FailureError`: unreachable when the store is absent, locked or refuses; timed-out. */
export interface OsSecrets {
  /** Null: there is none. */
  read(account: string): Promise<string | null>;
  write(account: string, secret: string): Promise<void>;
  remove(account: string): Promise<void>;
}

export interface OsSecretsOptions {
  /** The program that speaks with the store. */
  readonly program?: URL;
  /** Long enough for a person to answer a prompt. */
  readonly deadlineMs?: number;
  /** Where Linux finds its Secret Service. */
  readonly environment?: NodeJS.ProcessEnv;
}

export class OsSecretsProcess implements OsSecrets {
  readonly #program: URL;
  readonly #deadlineMs: number;
  readonly #environment: NodeJS.ProcessEnv;

  constructor({ program, deadlineMs = 20_000, environment = process.env }: OsSecretsOptions = {}) {
    this.#program = program ?? new URL("./os-secrets-process.ts", import.meta.url);
    this.#deadlineMs = deadlineMs;
    this.#environment = environment;
  }

  async read(account: string): Promise<string | null> {
    return this.#ask({ operation: "read", account });
  }

  async write(account: string, secret: string): Promise<void> {
    await this.#ask({ operation: "write", account, secret });
  }

  async remove(account: string): Promise<void> {
    await this.#ask({ operation: "remove", account });
  }

  async #ask(request: SecretRequest): Promise<string | null> {
    const reply = await this.#replyTo(request);
    if (reply.ok) return reply.secret;
    throw unusable("unreachable", `this computer's key store cannot be used: ${reply.reason}`);
  }

  async #replyTo(request: SecretRequest): Promise<SecretReply> {
    // Whatever the store's library prints may be about keys.
    const stdio: StdioOptions = ["ignore", "ignore", "ignore", "ipc"];
    const child = fork(fileURLToPath(this.#program), [], { stdio, execArgv: [], env: this.#environment });
    const { promise, resolve, reject } = Promise.withResolvers<SecretReply>();
    const tooLate = `this computer's key store did not answer within ${this.#deadlineMs / 1000} s; it may be asking a person`;
    const timer = setTimeout(() => reject(unusable("timed-out", tooLate)), this.#deadlineMs);
    const ended = (how: string) => resolve({ ok: false, reason: `the process that asks it ended (${how})` });
    child.on("message", (message) => {
      const parsed = secretReplySchema.safeParse(message);
      resolve(parsed.success ? parsed.data : { ok: false, reason: "its answer is not understood" });
    });
    child.on("error", (error) => ended(error.message));
    child.on("exit", (code, signal) => ended(signal ?? `exit code ${code}`));
    child.send(request, (error) => {
      if (error !== null) ended(error.message);
    });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      child.kill("SIGKILL");
    }
  }
}

function unusable(code: "unreachable" | "timed-out", message: string): FailureError {
  return new FailureError(code, message, {
    action: [
      "Log in to this computer's desktop, unlock its keyring and allow access, then try again.",
      "If it is gone for good, bring your backup: tah identity import FILE --key-store file.",
      "For a machine that trains while nobody is logged in, move the key once it is unlocked: tah identity move file.",
    ].join(" "),
    retry: true,
  });
}
