import { afterEach, describe, expect, it } from "vitest";
import type { MinerId } from "../../../src/protocol/ids.ts";
import { AskedProcess } from "../links/asked-process.ts";
import type { EndCalls, Met } from "../links/end-process.ts";
import { NatNetwork, type Router } from "./nat-network.ts";

const impossible = NatNetwork.impossibleBecause();
const skipped = impossible === null ? "" : ` (skipped: ${impossible})`;
/** Long past the deadline of a direct connection, which is what decides. */
const withinMs = 5_000;
/** For a session to notice that its connection is gone, and to come back. */
const comeBackMs = 60_000;

describe.skipIf(impossible !== null)(`miners behind routers${skipped}`, () => {
  const opened: { close(): Promise<void> }[] = [];
  afterEach(async () => {
    for (const one of opened.splice(0).reverse()) await one.close();
  });

  async function open(routers: readonly [Router, Router]) {
    const network = await NatNetwork.open(routers);
    opened.push(network);
    const gateway = start("./gateway-process.ts", [network.serverHost], network.server.enter);
    const networkUrl = String(await gateway.greeting);
    const ends = network.homes.map(({ enter }) => {
      const end = start("./end-process.ts", [], enter);
      return <Call extends keyof EndCalls>(call: Call, argument: Parameters<EndCalls[Call]>[0]) =>
        end.ask(call, argument) as Promise<ReturnType<EndCalls[Call]>>;
    });
    const ids = await Promise.all(ends.map((ask) => ask("open", { networkUrl, link: "direct" })));
    const meet = (ms: number): Promise<readonly Met[]> =>
      Promise.all(ends.map((ask, index) => ask("meet", { peer: other(ids, index), withinMs: ms })));
    const lines = () => Promise.all(ends.map((ask) => ask("line", { networkUrl })));
    return { network, meet, lines };
  }

  function start(file: string, args: readonly string[], enter: readonly string[]): AskedProcess {
    const started = new AskedProcess(file, args, enter);
    opened.push({ close: () => started.end() });
    return started;
  }

  const waysOf = (met: readonly Met[]) =>
    met.map(({ directAfterMs }) => (directAfterMs === null ? "relayed" : "direct"));

  it.each([
    ["cone", "cone", "direct"],
    ["cone", "symmetric", "direct or relayed"],
    ["symmetric", "symmetric", "relayed"],
    ["no-udp", "cone", "relayed"],
  ] as const)("%s and %s: %s", { timeout: 120_000 }, async (one, another, expected) => {
    const { meet } = await open([one, another]);
    const met = await meet(withinMs);
    for (const { firstByteMs } of met) expect(firstByteMs).toBeLessThan(withinMs);
    for (const way of waysOf(met)) expect(expected.split(" or ")).toContain(way);
  });

  it("learn from the doctor what their router lets them do", { timeout: 120_000 }, async () => {
    const { lines } = await open(["cone", "symmetric"]);
    expect(await lines()).toMatchObject([
      { way: "direct", udp: "consistent" },
      { way: "relayed", udp: "changing" },
    ]);
    expect(await (await open(["no-udp", "cone"])).lines()).toMatchObject([
      { way: "relayed", udp: "blocked" },
      { way: "direct", udp: "consistent" },
    ]);
  });

  it("meet again when a router was restarted and has another address", { timeout: 180_000 }, async () => {
    const { network, meet } = await open(["cone", "cone"]);
    expect(waysOf(await meet(withinMs))).toEqual(["direct", "direct"]);
    network.homes[0]?.restartRouter();
    const again = await meet(comeBackMs);
    for (const { firstByteMs } of again) expect(firstByteMs).toBeLessThan(withinMs);
    expect(waysOf(again)).toEqual(["direct", "direct"]);
  });
});

function other(ids: readonly MinerId[], index: number): MinerId {
  const [found] = ids.filter((_, at) => at !== index);
  if (found === undefined) throw new Error("two meet");
  return found;
}
