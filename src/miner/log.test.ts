import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createLog, formatLogLine, redact } from "./log.ts";

describe("log", () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tah-log-"));
    file = join(folder, "daemon.log");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("keeps the newest lines, numbered without gaps", () => {
    const log = createLog({ maxLines: 3 });
    for (const text of ["a", "b", "c", "d"]) log.write("info", "test", text);
    expect(log.last(10, "info").map(({ sequence, text }) => `${sequence}${text}`)).toEqual(["1b", "2c", "3d"]);
    expect(log.last(1, "info").map(({ text }) => text)).toEqual(["d"]);
  });

  it("leaves out lines below the level asked for", () => {
    const log = createLog();
    for (const level of ["debug", "info", "warning", "error"] as const) log.write(level, "test", level);
    expect(log.last(10, "warning").map(({ text }) => text)).toEqual(["warning", "error"]);
  });

  it("writes one line per event to a file that only its owner may read", () => {
    const log = createLog({ file, now: () => 0 });
    log.write("warning", "session", "two\nlines");
    expect(readFileSync(file, "utf8")).toBe("1970-01-01T00:00:00.000Z warning session  two ⏎ lines\n");
    expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  it("never fills the disk: a full file is kept once, then replaced", () => {
    const log = createLog({ file, maxFileBytes: 500 });
    for (let index = 0; index < 100; index++) log.write("info", "test", `line ${index}`);
    expect(statSync(file).size).toBeLessThanOrEqual(500);
    expect(statSync(`${file}.1`).size).toBeLessThanOrEqual(500);
    expect(readFileSync(file, "utf8")).toContain("line 99");
  });

  it("goes on in memory when the file cannot be written, and says so once", () => {
    const log = createLog({ file: join(folder, "missing", "daemon.log") });
    log.write("info", "test", "first");
    log.write("info", "test", "second");
    const texts = log.last(10, "info").map(({ text }) => text);
    expect(texts).toEqual(["first", expect.stringContaining("no more lines go to"), "second"]);
  });

  it("takes tokens and private keys out of what it is given", () => {
    expect(redact("GET /api?token=c2VjcmV0LXNlY3JldA&x=1")).toBe("GET /api?token=[redacted]&x=1");
    expect(redact("authorization: Bearer c2VjcmV0LXNlY3JldA==")).toBe("authorization: Bearer [redacted]");
    expect(redact('{"token":"c2VjcmV0LXNlY3JldA"}')).toBe('{"token":"[redacted]"}');
    expect(redact("-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\nrest")).toBe("[private key]\nrest");
    expect(redact("12 tokens: 34 per second")).toBe("12 tokens: 34 per second");
  });

  it("shows lines on a terminal in the same format", () => {
    const shown: string[] = [];
    const log = createLog({ echo: (line) => shown.push(line) });
    log.write("info", "test", "hello");
    expect(shown).toEqual(log.last(1, "info").map(formatLogLine));
  });
});
