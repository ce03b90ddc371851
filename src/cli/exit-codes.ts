/**
 * What `tah` ends with: a documented contract (docs/cli.md). 40 … 59 belong to the set-up scripts (`scripts/setup/failure.mjs`).
 */
import type { FailureCode } from "../protocol/failure.ts";

export const exitCodes = {
  ok: 0,
  /** A bug: please report it, with what was printed. */
  bug: 1,
  /** A command, flag or value that does not exist. */
  usage: 2,
} as const;

/** One for every expected failure, never renumbered. */
const failureExitCodes: Readonly<Record<FailureCode, number>> = {
  "invalid-option": exitCodes.usage,
  "invalid-config": 64,
  "not-found": 65,
  "already-running": 66,
  "electron-missing": 67,
  "dataset-invalid": 68,
  "file-unreadable": 69,
  unreachable: 70,
  "timed-out": 71,
  cancelled: 72,
  "not-authorised": 73,
  "unknown-command": 74,
  "unsupported-version": 75,
  "duplicate-session": 76,
  "too-many-connections": 77,
  "wrong-state": 78,
  banned: 79,
  "disk-full": 80,
  "memory-full": 81,
  "port-in-use": 82,
  "state-corrupt": 83,
  "compute-crashed": 84,
  "compute-non-finite": 85,
  "compute-unavailable": 86,
  "wrong-backend": 87,
  "admission-refused": 88,
  "malformed-message": 90,
  "message-too-large": 91,
  "unexpected-message": 92,
  "replayed-message": 93,
  "bad-signature": 94,
  "origin-refused": 95,
  "stale-epoch": 96,
  "blob-not-found": 97,
  "blob-corrupt": 98,
  "internal-error": 99,
};

export function exitCodeOf(code: FailureCode): number {
  return failureExitCodes[code];
}
