/** Miners of their own kind at a real gateway, and somebody on the way who changes what they say to each other. */
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { FakeClock } from "../../src/miner/session/fake-clock.ts";
import { Session } from "../../src/miner/session/session.ts";
import { slept } from "../../src/network/gateway/wakefulness.ts";
import {
  ControlChannel,
  messageBody,
  mostDelayMs,
  sessionDigest,
  signedHeaderBytes,
} from "../../src/protocol/control-channel.ts";
import type { Failure, FailureCode } from "../../src/protocol/failure.ts";
import type { GatewayMessage } from "../../src/protocol/gateway-messages.ts";
import { createIdentity } from "../../src/protocol/identity.ts";
import { Traffic } from "../../src/transport/traffic/traffic.ts";
import { type Direction, FakeMiddleman, passOn, type Tampering } from "./fake-middleman.ts";
import { type GatewayWorld, openGatewayWorld } from "./gateway-world.ts";

const stranger = createIdentity();
const longestPauseMs = 12_500;

let world: GatewayWorld;
let middleman: FakeMiddleman;
let miner: TestMiner;

const open = async (options: Parameters<typeof openGatewayWorld>[0] = {}) => {
  world = await openGatewayWorld(options);
  middleman = await FakeMiddleman.listen(world.gateway.port);
  miner = new TestMiner(middleman.url);
};
afterEach(async () => {
  miner.session.close();
  middleman.close();
  await world.close();
  expect(world.logged).toEqual([]);
});

/** A session of the miner's own making that says "leave" three times as soon as it is open. */
class TestMiner {
  readonly identity = createIdentity();
  readonly clock = new FakeClock();
  readonly session: Session;
  readonly #happened: ("opened" | GatewayMessage | Failure)[] = [];
  #changed: () => void = () => undefined;

  constructor(url: string) {
    const { identity, clock } = this;
    const credentials = { identity, name: "tester", role: "miner" } as const;
    this.session = new Session(
      { url, credentials, clock, traffic: new Traffic(clock), log: () => undefined },
      {
        opened: () => {
          for (const reason of ["one", "two", "three"]) this.session.send({ type: "leave", reason });
          this.#note("opened");
        },
        message: (message) => this.#note(message),
        lost: (failure) => this.#note(failure),
      },
    );
    this.session.open();
    clock.advance(0);
  }

  /** Resolves when the session is open. */
  async opened(): Promise<void> {
    await this.#next((event) => event === "opened");
  }

  /** Resolves with why the session was lost. */
  async lost(): Promise<Failure> {
    const failure = await this.#next((event) => typeof event === "object" && "code" in event);
    return failure as Failure;
  }

  /** The next session opens, and is of use. */
  async goesOn(): Promise<void> {
    this.clock.advance(longestPauseMs);
    await this.opened();
    await this.isHeard();
  }

  async isHeard(): Promise<void> {
    const { runId } = world.orchestrator.state.definition;
    this.session.send({ type: "owner-command", id: 7, command: { type: "delete-run", runId } });
    await this.#next((event) => typeof event === "object" && "type" in event && event.type === "owner-answer");
  }

  async #next(isWanted: (event: "opened" | GatewayMessage | Failure) => boolean) {
    for (;;) {
      for (let event = this.#happened.shift(); event !== undefined; event = this.#happened.shift())
        if (isWanted(event)) return event;
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
  }

  #note(event: "opened" | GatewayMessage | Failure): void {
    this.#happened.push(event);
    this.#changed();
  }
}

type Three = readonly [Buffer, Buffer, Buffer];
interface Attack {
  readonly what: string;
  readonly code: FailureCode;
  /** What becomes of three messages; `forge` signs as a stranger who has read all that went before. */
  readonly alter: (three: Three, forge: () => Uint8Array) => readonly Uint8Array[];
}

const changed = (bytes: Uint8Array, at: number) =>
  Uint8Array.from(bytes, (byte, index) => (index === at ? byte ^ 1 : byte));
const attacks: readonly Attack[] = [
  { what: "changes a message", code: "bad-signature", alter: ([a, b, c]) => [a, changed(b, b.length - 1), c] },
  { what: "changes a signature", code: "bad-signature", alter: ([a, b, c]) => [a, changed(b, 20), c] },
  { what: "changes a sequence", code: "bad-signature", alter: ([a, , c]) => [a, changed(c, 1)] },
  { what: "cuts a message short", code: "bad-signature", alter: ([a]) => [a.subarray(0, -1)] },
  { what: "cuts its head short", code: "malformed-message", alter: ([a]) => [a.subarray(0, signedHeaderBytes - 1)] },
  { what: "signs one of its own", code: "bad-signature", alter: (_, forge) => [forge()] },
  { what: "takes the signature away", code: "bad-signature", alter: ([a]) => [a.subarray(signedHeaderBytes)] },
  { what: "repeats a message", code: "replayed-message", alter: ([a, b, c]) => [a, b, b, c] },
  { what: "repeats an older one", code: "replayed-message", alter: ([a, b, c]) => [a, b, c, a] },
  { what: "exchanges two messages", code: "replayed-message", alter: ([a, b, c]) => [b, a, c] },
  { what: "loses a message", code: "replayed-message", alter: ([a, , c]) => [a, c] },
];

/** Collects the first three signed messages of a direction, and passes on what the attack makes of them. */
function tampers({ alter }: Attack, attacked: Direction): Tampering {
  const greeting = new Map<Direction, Buffer>();
  const signed: Buffer[] = [];
  return (direction, index, bytes) => {
    if (index === 0) greeting.set(direction, bytes);
    if (index === 0 || direction !== attacked) return [bytes];
    signed.push(bytes);
    const [a, b, c] = signed;
    if (a === undefined || b === undefined || c === undefined) return [];
    if (signed.length > 3) return [bytes];
    const session = sessionDigest(greeting.get("down") ?? bytes, greeting.get("up") ?? bytes);
    const speaker = attacked === "up" ? "client" : "gateway";
    const channel = new ControlChannel({ speaker, identity: stranger, peer: stranger.minerId, session });
    return alter([a, b, c], () => channel.seal(messageBody({ type: "leave", reason: "forged" }), 0));
  };
}

async function refusals(): Promise<unknown> {
  const health = await fetch(`http://127.0.0.1:${world.gateway.port}/health`);
  return ((await health.json()) as { refusals: unknown }).refusals;
}

describe("somebody on the way", () => {
  it("who changes nothing is not noticed", async () => {
    await open();
    await miner.opened();
    await miner.isHeard();
    expect(await refusals()).toEqual({});
  });

  it.each(attacks)("who $what to the gateway ends that session, is counted, and the miner goes on", async (attack) => {
    await open();
    middleman.tampering = tampers(attack, "up");
    await miner.opened();
    expect(await miner.lost()).toMatchObject({ code: attack.code, retry: true });
    middleman.tampering = passOn;
    expect(await refusals()).toEqual({ [attack.code]: 1 });
    await miner.goesOn();
  });

  it.each(attacks)("who $what to the miner ends that session, and the miner goes on", async (attack) => {
    await open();
    middleman.tampering = tampers(attack, "down");
    expect(await miner.lost()).toMatchObject({ code: attack.code, retry: true });
    middleman.tampering = passOn;
    await miner.goesOn();
  });

  it.each<readonly [string, Direction, Tampering]>([
    ["the challenge", "down", (_d, index, bytes) => [index === 0 ? changed(bytes, bytes.length - 1) : bytes]],
    ["whom the hello names", "up", (_d, index, bytes) => [index === 0 ? renamed(bytes) : bytes]],
  ])("who changes %s ends that session, and the miner goes on", async (_, attacked, tampering) => {
    await open();
    middleman.tampering = (direction, index, bytes) =>
      direction === attacked ? tampering(direction, index, bytes) : [bytes];
    expect(await miner.lost()).toMatchObject({ code: "bad-signature", retry: true });
    middleman.tampering = passOn;
    await miner.goesOn();
  });

  it("who holds a message back for minutes ends that session, and the miner goes on", async () => {
    let nowMs = 1e6;
    await open({ clock: () => nowMs, limits: { silenceMs: Number.POSITIVE_INFINITY } });
    await miner.opened();
    await miner.isHeard();
    // Meanwhile the miner's clock stands still: it has sent this long ago.
    nowMs += 2 * mostDelayMs;
    miner.session.send({ type: "leave", reason: "held back" });
    expect(await miner.lost()).toMatchObject({ code: "replayed-message", retry: true });
    expect(await refusals()).toEqual({ "replayed-message": 1 });
    await miner.goesOn();
  });
});

describe("a network whose computer was asleep says so to whoever is there, and takes them in again,", () => {
  afterEach(() => vi.useRealTimers());

  it.each([
    ["when a message comes", () => void miner.session.send({ type: "leave", reason: "sent before it slept" })],
    ["when it looks after its sessions", () => void vi.advanceTimersByTime(5000)],
  ])("%s", async (_, wake) => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    let nowMs = 1e6;
    await open({ clock: () => nowMs });
    await miner.opened();
    await miner.isHeard();
    nowMs += 3_600_000;
    wake();
    expect(await miner.lost()).toMatchObject({ code: "unreachable", message: slept.message, retry: true });
    expect(await refusals()).toEqual({});
    await miner.goesOn();
  });
});

it("whatever nobody has signed ends the session that it comes in, and no other", async () => {
  await open();
  await miner.opened();
  const markers = fc.constantFrom<readonly number[]>([], [1], [2]);
  const unsigned = fc
    .tuple(markers, fc.uint8Array({ maxLength: 300 }))
    .map(([marker, rest]) => Uint8Array.from([...marker, ...rest]));
  await fc.assert(
    fc.asyncProperty(unsigned, async (bytes) => {
      const victim = await world.enter();
      victim.sendBytes(bytes);
      const { failure, closing } = await victim.next("refused");
      expect(["bad-signature", "malformed-message"]).toContain(failure.code);
      expect(closing).toBe(true);
      await victim.closed;
    }),
    { seed: 20_261_126, numRuns: 100, endOnFailure: true },
  );
  await miner.isHeard();
});

/** Another name of the same length. */
function renamed(hello: Buffer): Uint8Array {
  const bytes = Buffer.from(hello);
  bytes.write("jester", bytes.indexOf("tester"));
  return bytes;
}
