/** Where a command's words go: its one result to standard output, everything else to standard error. */
import { format } from "node:util";
import { type Failure, FailureError, failureText } from "../protocol/failure.ts";

/** Of a failure, as its schema has it. */
const maxMessageLength = 2000;

export interface TextSink {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
}

export interface Streams {
  readonly stdout: TextSink;
  readonly stderr: TextSink;
}

export class Output {
  readonly #streams: Streams;
  readonly #json: boolean;
  /** Of the progress line that stands on the terminal without a line end. */
  #progressLength = 0;

  constructor(streams: Streams, json: boolean) {
    this.#streams = streams;
    this.#json = json;
  }

  /** The command's result: one JSON object on one line with `--json`, otherwise as text for people. Called once. */
  result<T extends object>(value: T, asText: (value: T) => string): void {
    this.#clearProgress();
    this.#streams.stdout.write(`${this.#json ? JSON.stringify(value) : asText(value)}\n`);
  }

  /** A part of a text that grows: the result itself for people, something to watch with `--json`. */
  piece(text: string): void {
    this.#clearProgress();
    (this.#json ? this.#streams.stderr : this.#streams.stdout).write(text);
  }

  note(text: string): void {
    this.#clearProgress();
    this.#streams.stderr.write(`${text}\n`);
  }

  /** Replaces the last progress line on a terminal; elsewhere it is a line like any other. */
  progress(text: string): void {
    if (!this.rewritesProgress) {
      this.note(text);
      return;
    }
    this.#streams.stderr.write(`\r${text.padEnd(this.#progressLength)}`);
    this.#progressLength = text.length;
  }

  get rewritesProgress(): boolean {
    return this.#streams.stderr.isTTY === true;
  }

  /** One line: what happened, and what to do. */
  failure(failure: Failure): void {
    if (this.#json) this.#streams.stdout.write(`${JSON.stringify({ failure })}\n`);
    this.note(`tah: ${failureText(failure)}`);
  }

  bug(error: unknown): void {
    if (this.#json) {
      const message = (error instanceof Error ? error.message : String(error)).slice(0, maxMessageLength);
      const { failure } = new FailureError("internal-error", message, { action: "This is a bug: please report it." });
      this.#streams.stdout.write(`${JSON.stringify({ failure })}\n`);
    }
    this.note(format("tah: this is a bug, please report it:", error));
  }

  #clearProgress(): void {
    if (this.#progressLength > 0) this.#streams.stderr.write(`\r${" ".repeat(this.#progressLength)}\r`);
    this.#progressLength = 0;
  }
}
