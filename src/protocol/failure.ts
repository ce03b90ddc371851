/**
 * Expected failures: things that go wrong in a healthy program because the world is as it is. They say what happened, what
 * to do next, and whether trying again makes sense. Bugs are ordinary exceptions.
 */
import { z } from "zod";

export const failureCodes = [
  // A peer or client sent something that is not allowed.
  "malformed-message",
  "message-too-large",
  "unexpected-message",
  "replayed-message",
  "bad-signature",
  "not-authorised",
  "origin-refused",
  "unknown-command",
  "unsupported-version",
  "duplicate-session",
  "too-many-connections",
  "banned",
  "admission-refused",
  // The other side is not there, or not now.
  "unreachable",
  "timed-out",
  "cancelled",
  "stale-epoch",
  // Data.
  "blob-not-found",
  "blob-corrupt",
  "dataset-invalid",
  "file-unreadable",
  // This machine.
  "disk-full",
  "memory-full",
  "port-in-use",
  "state-corrupt",
  "compute-crashed",
  "compute-non-finite",
  "compute-unavailable",
  "wrong-backend",
  "electron-missing",
  // What the person asked for.
  "invalid-option",
  "invalid-config",
  "not-found",
  "already-running",
  "wrong-state",
  /** A bug on the other side, as whoever asked is told of it; the side that has it logs it in full. */
  "internal-error",
] as const;

export const failureSchema = z.object({
  code: z.enum(failureCodes),
  /** What happened, for a person: one sentence. */
  message: z.string().max(2000),
  /** What to do next; empty when nothing can be done. */
  action: z.string().max(2000),
  /** Whether trying the same again may succeed. */
  retry: z.boolean(),
});
export type Failure = Readonly<z.infer<typeof failureSchema>>;
export type FailureCode = Failure["code"];

/** Carries a `Failure` up the stack to whoever can report it. */
export class FailureError extends Error {
  override readonly name = "FailureError";
  readonly failure: Failure;
  constructor(code: FailureCode, message: string, options: { action?: string; retry?: boolean; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.failure = { code, message, action: options.action ?? "", retry: options.retry ?? false };
  }
}

/** The failure inside an error, if it is an expected one; otherwise undefined: it is a bug. */
export function failureOf(error: unknown): Failure | undefined {
  return error instanceof FailureError ? error.failure : undefined;
}

/** What happened and what to do next, in one line for people. */
export function failureText({ message, action }: Failure): string {
  return action === "" ? message : `${message.replace(/\.$/, "")}. ${action}`;
}
