/** One handler per command, typed from the command table, and the way from an untrusted request to its reply. */
import { z } from "zod";
import { type Failure, FailureError, failureOf } from "../../protocol/failure.ts";
import {
  type ApiReply,
  apiRequestSchema,
  type CommandName,
  type CommandParameters,
  type CommandResult,
  commands,
  type LocalApi,
  maxRequestBytes,
} from "../../protocol/local-api.ts";
import type { Feed } from "./feed.ts";

export type Handlers = {
  readonly [C in CommandName]: (
    parameters: z.output<(typeof commands)[C]["parameters"]>,
  ) => CommandResult<C> | Promise<CommandResult<C>>;
};

/** A reply, and whether whoever sent the request is no client of ours and should be cut off. */
export interface Answer {
  readonly reply: ApiReply;
  readonly close?: "malformed" | "tooLarge";
}

/** Answers one text message. Never rejects: what goes wrong is in the reply; `onBug` hears of errors nobody expected. */
export async function answerRequest(
  handlers: Handlers,
  bytes: Uint8Array,
  onBug: (command: string, error: unknown) => void,
): Promise<Answer> {
  if (bytes.length > maxRequestBytes) {
    const failure = failureFor(
      "message-too-large",
      `a request of ${bytes.length} bytes; the limit is ${maxRequestBytes}`,
    );
    return { reply: { reply: null, ok: false, failure }, close: "tooLarge" };
  }
  const request = apiRequestSchema.safeParse(jsonOf(bytes));
  if (!request.success) {
    const failure = failureFor("malformed-message", `not a request: ${explain(request.error)}`);
    return { reply: { reply: null, ok: false, failure }, close: "malformed" };
  }
  const { id, command, parameters } = request.data;
  try {
    return { reply: { reply: id, ok: true, result: await callCommand(handlers, command, parameters) } };
  } catch (error) {
    const failure = failureOf(error);
    if (failure === undefined) onBug(command, error);
    return { reply: { reply: id, ok: false, failure: failure ?? bugFailure(command) } };
  }
}

/** The API inside the daemon's own process. */
export function localApiOf(handlers: Handlers, feed: Feed): LocalApi {
  return {
    async call<C extends CommandName>(command: C, parameters: CommandParameters<C>): Promise<CommandResult<C>> {
      return (await callCommand(handlers, command, parameters)) as CommandResult<C>; // typed by `Handlers`
    },
    subscribe: feed.subscribe,
  };
}

/** Checks name and parameters against the table and calls. Rejects with `FailureError`: unknown-command, invalid-option, or the handler's. */
async function callCommand(handlers: Handlers, command: string, parameters: unknown): Promise<unknown> {
  if (!isCommand(command))
    throw new FailureError("unknown-command", `there is no command ${JSON.stringify(command)}`, {
      action: `The commands are ${Object.keys(commands).join(", ")}.`,
    });
  const parsed = commands[command].parameters.safeParse(parameters);
  if (!parsed.success) throw new FailureError("invalid-option", `${command}: ${explain(parsed.error)}`);
  // The table ties each command's parameters to its handler; TypeScript cannot follow that through a variable name.
  const handler = handlers[command] as (parameters: unknown) => unknown;
  return handler(parsed.data);
}

function isCommand(name: string): name is CommandName {
  return Object.hasOwn(commands, name);
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return undefined; // which is no request either
  }
}

function explain(error: z.ZodError): string {
  return z.prettifyError(error).slice(0, 500);
}

function failureFor(code: Failure["code"], message: string): Failure {
  return new FailureError(code, message).failure;
}

function bugFailure(command: string): Failure {
  return new FailureError("internal-error", `the daemon failed at ${command} in a way nobody foresaw`, {
    action: "Its log says more: tah logs --level error.",
  }).failure;
}
