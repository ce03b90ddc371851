/**
 * The only bridge into the page: `window.trainAtHome` is a `LocalApi`. It runs in the sandbox, so it is one CommonJS file that
 * needs nothing but Electron; what it passes on is checked in the main process.
 */
import { contextBridge, ipcRenderer } from "electron";
import type { ApiEvent, ApiReply, ApiRequest, LocalApi } from "../protocol/local-api.ts";
import { channels } from "./channel-names.ts";

const listeners = new Map<number, (event: ApiEvent) => void>();
let nextSubscription = 0;
let nextCall = 0;

ipcRenderer.on(channels.event, (_event, subscription: number, event: ApiEvent) => listeners.get(subscription)?.(event));

const api: LocalApi = {
  async call(command, parameters) {
    const request: ApiRequest = { id: nextCall++, command, parameters };
    const reply: ApiReply = await ipcRenderer.invoke(channels.call, request);
    // Not an Error: on the way into the page those lose everything but their message.
    if (!reply.ok) throw { name: "FailureError", message: reply.failure.message, failure: reply.failure };
    return reply.result as never; // checked against the command's schema by the main process
  },
  subscribe(listener) {
    const subscription = nextSubscription++;
    listeners.set(subscription, listener);
    ipcRenderer.send(channels.subscribe, subscription);
    return () => {
      listeners.delete(subscription);
      ipcRenderer.send(channels.unsubscribe, subscription);
    };
  },
};

contextBridge.exposeInMainWorld("trainAtHome", api);
