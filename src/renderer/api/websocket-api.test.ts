import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { fakeNetwork } from "../../../test/e2e/fixtures/fake-network.ts";
import type { ApiEvent } from "../../protocol/local-api.ts";
import type { Connection } from "./dashboard-api.ts";
import { retryDelayMs } from "./retry-delay.ts";
import { WebSocketApi } from "./websocket-api.ts";

/** Stands in for the browser's WebSocket; the test plays the server. */
class FakeWebSocket {
  static readonly OPEN = 1;
  static readonly opened: FakeWebSocket[] = [];
  readonly sent: { id: number; command: string }[] = [];
  readyState = FakeWebSocket.OPEN;
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  constructor() {
    FakeWebSocket.opened.push(this);
  }
  send(text: string) {
    this.sent.push(JSON.parse(text));
  }
  close() {
    this.readyState = 3;
  }
  say(message: unknown) {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }
  drop(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
}

const { state, lists } = fakeNetwork({ stages: 2, replicas: 1, epochs: 1 });
const snapshot = (version: number): ApiEvent => ({ event: "snapshot", version, state, lists });
const delta = (version: number): ApiEvent => ({ event: "delta", version, set: {}, append: {} });
const socket = (index: number): FakeWebSocket => {
  const opened = FakeWebSocket.opened.at(index);
  if (!opened) throw new Error("no such socket");
  return opened;
};

function openApi() {
  const api = new WebSocketApi("ws://127.0.0.1:1/api?token=x");
  const events: string[] = [];
  const connections: Connection[] = [];
  api.subscribe(({ event, version }) => events.push(`${event} ${version}`));
  api.onConnection((connection) => connections.push(connection));
  return { api, events, connections, kinds: () => connections.map(({ kind }) => kind) };
}

beforeEach(() => {
  FakeWebSocket.opened.length = 0;
  vi.stubGlobal("WebSocket", FakeWebSocket);
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("the connection counts as open once the snapshot is there, and deltas follow", () => {
  const { events, kinds } = openApi();
  socket(0).say(snapshot(3));
  socket(0).say(delta(4));
  expect(kinds()).toEqual(["connecting", "open"]);
  expect(events).toEqual(["snapshot 3", "delta 4"]);
});

test("a missing delta is not delivered past: the client connects again and gets a snapshot", () => {
  const { events, connections } = openApi();
  socket(0).say(snapshot(3));
  socket(0).say(delta(5));
  expect(connections.at(-1)).toMatchObject({ kind: "lost", loss: "out-of-step" });
  vi.runOnlyPendingTimers();
  socket(1).say(snapshot(6));
  expect(events).toEqual(["snapshot 3", "snapshot 6"]);
});

test("what is not the daemon's language ends the connection", () => {
  const { connections } = openApi();
  socket(0).say("<html>");
  expect(connections.at(-1)).toMatchObject({ kind: "lost", loss: "malformed" });
});

test("a lost daemon is looked for again and again, and each failure waits longer", () => {
  const { connections } = openApi();
  const waits: number[] = [];
  for (let attempt = 0; attempt < 4; attempt++) {
    socket(-1).drop();
    const lost = connections.at(-1);
    if (lost?.kind !== "lost") return expect.unreachable("a closed socket is a lost daemon");
    waits.push(lost.retryAtMs - Date.now());
    vi.runOnlyPendingTimers();
  }
  expect(FakeWebSocket.opened).toHaveLength(5);
  expect(waits).toEqual([...waits].sort((a, b) => a - b));
});

test("a token that is refused is not tried again", () => {
  const { connections } = openApi();
  socket(0).drop(4401);
  vi.runOnlyPendingTimers();
  expect(connections.at(-1)).toEqual({ kind: "refused" });
  expect(FakeWebSocket.opened).toHaveLength(1);
});

test("a refused command rejects with the daemon's failure, and one in flight when the daemon goes with 'unreachable'", async () => {
  const { api } = openApi();
  socket(0).say(snapshot(0));
  const refused = api.call("start", {});
  const cut = api.call("pause", {});
  const [first] = socket(0).sent;
  const failure = { code: "invalid-option", message: "not now", action: "", retry: false };
  socket(0).say({ reply: first?.id, ok: false, failure });
  socket(0).drop();
  await expect(refused).rejects.toMatchObject({ failure: { code: "invalid-option", message: "not now" } });
  await expect(cut).rejects.toMatchObject({ failure: { code: "unreachable" } });
  await expect(api.call("start", {})).rejects.toMatchObject({ failure: { code: "unreachable" } });
});

test("a reply resolves its own call, whatever the order", async () => {
  const { api } = openApi();
  socket(0).say(snapshot(0));
  const calls = [api.call("start", {}), api.call("pause", {})];
  const [start, pause] = socket(0).sent;
  socket(0).say({ reply: pause?.id, ok: true, result: { ...state.machine, intent: "pause" } });
  socket(0).say({ reply: start?.id, ok: true, result: { ...state.machine, intent: "run" } });
  expect((await Promise.all(calls)).map(({ intent }) => intent)).toEqual(["run", "pause"]);
});

test("the wait doubles up to 15 s and never shrinks by more than a quarter", () => {
  expect([0, 1, 2, 5, 50].map((attempt) => retryDelayMs(attempt, 0))).toEqual([500, 1000, 2000, 15_000, 15_000]);
  expect(retryDelayMs(0, 1)).toBe(375);
});
