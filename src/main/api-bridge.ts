/** The main process's end of the bridge: checks who asks and what, and passes it to the daemon. */
import type { IpcMain, IpcMainEvent, IpcMainInvokeEvent, WebContents } from "electron";
import { z } from "zod";
import { FailureError, failureOf } from "../protocol/failure.ts";
import { type ApiReply, apiRequestSchema, type CommandName, commands, maxRequestBytes } from "../protocol/local-api.ts";
import { channels } from "./channel-names.ts";
import type { DaemonLink } from "./daemon-link.ts";
import { isAppPage } from "./navigation.ts";

const subscriptionSchema = z.int().nonnegative();
/** A page has one subscription, or a few while it reloads. */
const maxSubscriptions = 64;

export function connectPages(ipcMain: IpcMain, link: DaemonLink): void {
  const subscriptions = new Map<string, () => void>();

  ipcMain.handle(channels.call, (event, request: unknown): Promise<ApiReply> => answer(link, event, request));
  ipcMain.on(channels.subscribe, (event, subscription: unknown) => {
    const number = acceptedSubscription(event, subscription);
    if (number === undefined || subscriptions.size >= maxSubscriptions) return;
    const { sender } = event;
    const key = keyOf(sender, number);
    subscriptions.get(key)?.();
    const cancel = link.subscribe((apiEvent) => sender.send(channels.event, number, apiEvent));
    const end = () => {
      cancel();
      subscriptions.delete(key);
    };
    subscriptions.set(key, end);
    // What a page subscribed to ends with it, also when it is only loaded anew.
    sender.once("destroyed", end).once("did-navigate", end);
  });
  ipcMain.on(channels.unsubscribe, (event, subscription: unknown) => {
    const number = acceptedSubscription(event, subscription);
    if (number !== undefined) subscriptions.get(keyOf(event.sender, number))?.();
  });
}

/** Never rejects: Electron would turn what is thrown into a message without its failure. */
async function answer(link: DaemonLink, event: IpcMainInvokeEvent, message: unknown): Promise<ApiReply> {
  if (!isTrusted(event)) return refusal(null, new FailureError("origin-refused", "only the app's own page may ask"));
  const request = apiRequestSchema.safeParse(message);
  if (!request.success) return refusal(null, new FailureError("malformed-message", "this is not a request"));
  const { id, command, parameters } = request.data;
  try {
    if (JSON.stringify(parameters).length > maxRequestBytes)
      throw new FailureError("message-too-large", `a request is at most ${maxRequestBytes} bytes long`);
    if (!isCommand(command))
      throw new FailureError("unknown-command", `there is no command ${JSON.stringify(command)}`);
    // Checked against the table by the daemon, which names what is wrong.
    return { reply: id, ok: true, result: await link.call(command, parameters as never) };
  } catch (error) {
    if (failureOf(error) === undefined) console.error(`${command}:`, error);
    return refusal(id, error);
  }
}

function refusal(reply: number | null, error: unknown): ApiReply {
  const failure =
    failureOf(error) ?? new FailureError("internal-error", "the app failed in a way nobody foresaw").failure;
  return { reply, ok: false, failure };
}

function acceptedSubscription(event: IpcMainEvent, subscription: unknown): number | undefined {
  return isTrusted(event) ? subscriptionSchema.safeParse(subscription).data : undefined;
}

/** Frames inside the page, and pages from elsewhere, get nothing. */
function isTrusted({ senderFrame }: IpcMainEvent | IpcMainInvokeEvent): boolean {
  return senderFrame !== null && senderFrame.parent === null && isAppPage(senderFrame.url);
}

function isCommand(name: string): name is CommandName {
  return Object.hasOwn(commands, name);
}

function keyOf({ id }: WebContents, subscription: number): string {
  return `${id} ${subscription}`;
}
