/**
 * The daemon's log: the newest lines in memory, for its clients, and all of them in a file that does not grow for ever. One
 * line format everywhere: `2026-01-31T12:00:00.000Z warning session  what happened`.
 */
import { appendFileSync, renameSync, statSync } from "node:fs";
import type { LogLine } from "../protocol/machine-view.ts";

export interface Log {
  write(level: LogLine["level"], source: string, text: string): void;
  /** The newest `lines` lines of at least this level, oldest first. */
  last(lines: number, level: LogLine["level"]): readonly LogLine[];
  /** One listener, called with each new line. */
  onLine(listener: (line: LogLine) => void): void;
}

/** Of every log file, until it is FILE.1. */
export const maxLogFileBytes = 4 << 20;

export interface LogOptions {
  /** Lines go here too; when it is full, it becomes FILE.1 and a new one begins. */
  readonly file?: string;
  readonly maxFileBytes?: number;
  readonly maxLines?: number;
  /** Called with each formatted line: a terminal. */
  readonly echo?: ((line: string) => void) | undefined;
  readonly now?: () => number;
}

const levels = ["debug", "info", "warning", "error"] as const satisfies readonly LogLine["level"][];
const maxTextLength = 4000;

export function createLog({
  file,
  maxFileBytes = maxLogFileBytes,
  maxLines = 10_000,
  echo,
  now = Date.now,
}: LogOptions = {}): Log {
  const lines: LogLine[] = [];
  let sequence = 0;
  let listener: ((line: LogLine) => void) | undefined;
  let append = file === undefined ? undefined : rotatingFile(file, maxFileBytes);

  function write(level: LogLine["level"], source: string, text: string): void {
    const line = { sequence: sequence++, atMs: now(), level, source, text: redact(text).slice(0, maxTextLength) };
    lines.push(line);
    if (lines.length > maxLines) lines.splice(0, lines.length - maxLines);
    listener?.(line);
    const formatted = formatLogLine(line);
    echo?.(formatted);
    try {
      append?.(`${formatted}\n`);
    } catch (error) {
      append = undefined; // a full disk must not end the training
      write("warning", "log", `no more lines go to ${file}: ${error instanceof Error ? error.message : error}`);
    }
  }

  return {
    write,
    last(count, level) {
      return lines.filter((line) => levels.indexOf(line.level) >= levels.indexOf(level)).slice(-count);
    },
    onLine(newListener) {
      listener = newListener;
    },
  };
}

export function formatLogLine({ atMs, level, source, text }: LogLine): string {
  // A line stays a line, whatever is in the text.
  return `${new Date(atMs).toISOString()} ${level.padEnd(7)} ${source.padEnd(8)} ${text.replaceAll(/\s*\n\s*/g, " ⏎ ")}`;
}

/** Takes secrets out of a text: tokens in addresses and headers, and private keys. */
export function redact(text: string): string {
  return text
    .replaceAll(/-----BEGIN ([A-Z ]*PRIVATE KEY)-----[\s\S]*?(-----END \1-----|$)/g, "[private key]")
    .replaceAll(/\b(token"?\s*[=:]\s*"?|Bearer\s+)[\w.~+/-]{8,}=*/gi, "$1[redacted]");
}

/** Appends to a file of at most `maxBytes`; one older file, FILE.1, is kept beside it. What it returns throws on a full disk. */
export function rotatingFile(file: string, maxBytes: number): (text: string) => void {
  let bytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  return (text) => {
    const length = Buffer.byteLength(text);
    if (bytes > 0 && bytes + length > maxBytes) {
      renameSync(file, `${file}.1`);
      bytes = 0;
    }
    appendFileSync(file, text, { mode: 0o600 });
    bytes += length;
  };
}
