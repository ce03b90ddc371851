import { expect, it } from "vitest";
import { bootstrapOptions, type DirectOptions, type ListeningOptions } from "./direct-options.ts";

function ask(options: Partial<ListeningOptions & DirectOptions>) {
  const notes: string[] = [];
  const bootstrap = bootstrapOptions({ host: "127.0.0.1", port: 7700, direct: "on", ...options }, (text) =>
    notes.push(text),
  );
  return { bootstrap, notes };
}

it.each(["127.0.0.1", "localhost"])("a network that listens on %s lets its computer's miners meet there", (host) => {
  const bootstrap = { listenHost: "127.0.0.1", publicHost: "127.0.0.1", firstPort: 7701, orAnyPort: true };
  expect(ask({ host })).toEqual({ bootstrap, notes: [] });
});

it("a network takes the UDP ports and the address that it was told", () => {
  const { bootstrap } = ask({ host: "0.0.0.0", directHost: "192.0.2.7", directPort: 9000 });
  expect(bootstrap).toEqual({ listenHost: "0.0.0.0", publicHost: "192.0.2.7", firstPort: 9000 });
});

it("a network that chooses its port freely chooses the others freely, too", () => {
  expect(ask({ port: 0 }).bootstrap?.firstPort).toBe(0);
});

it("a network behind a proxy names no address that only the proxy can reach", () => {
  const { bootstrap, notes } = ask({ behindProxy: true });
  expect(bootstrap).toBeUndefined();
  expect(notes).toEqual([expect.stringContaining("--direct-host")]);
});

it("a network behind a proxy is reached past it where its address is told", () => {
  const { bootstrap } = ask({ behindProxy: true, directHost: "192.0.2.7" });
  expect(bootstrap).toEqual({ listenHost: "0.0.0.0", publicHost: "192.0.2.7", firstPort: 7701, orAnyPort: true });
});

it("a network of IPv6 alone says that it has no direct connections", () => {
  const { bootstrap, notes } = ask({ host: "::" });
  expect(bootstrap).toBeUndefined();
  expect(notes).toHaveLength(1);
});

it("a network that is told to leaves direct connections out without a word", () => {
  expect(ask({ direct: "off" })).toEqual({ bootstrap: undefined, notes: [] });
});
