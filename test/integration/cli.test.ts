/** `tah` against a real daemon whose miner is a fake: what it prints, what it asks of the daemon, and what it ends with. */
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { setupExitCodes } from "../../scripts/setup/failure.mjs";
import { exitCodeOf, exitCodes } from "../../src/cli/exit-codes.ts";
import { outputSchemas } from "../../src/cli/output-schemas.ts";
import { storedIdentity } from "../../src/miner/store/identity-file.ts";
import { HotkeyRegister } from "../../src/network/hotkeys.ts";
import { networkIdentity } from "../../src/network/network-identity.ts";
import { EmbeddedStore } from "../../src/network/store/embedded-store.ts";
import { readInvitation } from "../../src/protocol/admission.ts";
import { FailureError, failureCodes } from "../../src/protocol/failure.ts";
import { fakeHotkeyAddress, fakeHotkeyProof, signWithFakeHotkey } from "../../src/protocol/fake-hotkey.ts";
import { createIdentity, importIdentity } from "../../src/protocol/identity.ts";
import { runIdSchema } from "../../src/protocol/ids.ts";
import { exampleEpoch, examplePlacement, exampleRun, exampleSummary } from "../contract/example-views.ts";
import { type DaemonWorld, startDaemonWorld, temporaryFolder } from "../contract/local-api-world.ts";
import { jsonResult, runTah } from "./captured-streams.ts";
import { openGatewayWorld } from "./gateway-world.ts";

const runId = runIdSchema.parse("demo");
const other = runIdSchema.parse("other");

/** The doctor tests every device that there is. */
const timeout = 120_000;

describe("tah, with a daemon", { timeout }, () => {
  let world: DaemonWorld;
  const tah = (...args: readonly string[]) => runTah(...args, "--state", world.stateFolder);

  const contentOf = (name: string) => {
    const file = join(world.stateFolder, name);
    return statSync(file).isFile() ? readFileSync(file, "latin1") : "";
  };

  beforeEach(async () => {
    world = await startDaemonWorld();
    world.miner.emit({ type: "runs", runs: [exampleSummary(), exampleSummary({ runId: other, phase: "paused" })] });
    const view = exampleRun({ placement: examplePlacement() });
    world.miner.emit({ type: "run-update", update: { runId, view, epochs: [exampleEpoch(0)] } });
    world.miner.emit({ type: "run-update", update: { runId: other, view: exampleRun({ runId: other }) } });
  });
  afterEach(() => world.close());

  it.each([
    ["status", []],
    ["start", []],
    ["pause", []],
    ["processes", []],
    ["logs", ["--lines", "5", "--level", "debug"]],
    ["doctor", []],
    ["open", []],
    ["run list", []],
    ["run show", []],
    ["run show", ["demo"]],
    ["run placement", ["demo"]],
    ["run plan", ["--preset", "25m", "--up-mbps", "10"]],
    ["run pause", ["demo"]],
    ["run resume", ["demo"]],
    ["run stop", ["demo"]],
    ["run weight", ["demo", "3"]],
    ["run delete", ["demo", "--yes"]],
    ["run create", ["--preset", "tiny", "--id", "poems", "--weight", "2"]],
    ["run import", ["my-model", "--preset", "tiny"]],
    ["payout show", []],
    ["payout set", ["5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"]],
    ["payout clear", []],
    ["hotkey show", []],
    ["hotkey forget", []],
    ["stop", []],
    ["version", []],
  ] as const)(
    "%s %j prints one JSON object of the documented shape, and text for people without --json",
    async (name, args) => {
      const printed = await tah(...name.split(" "), ...args, "--json");
      expect(printed.exitCode).toBe(exitCodes.ok);
      expect(printed.stdout.trimEnd().split("\n")).toHaveLength(1);
      z.strictObject({ result: outputSchemas[name] }).parse({ result: jsonResult(printed) });
      if (name === "stop" || name === "doctor") return; // the one works once, the other has its test below
      const text = await tah(...name.split(" "), ...args);
      expect(text.exitCode).toBe(exitCodes.ok);
      expect(text.stdout.trim()).not.toBe("");
      expect(() => jsonResult(text)).toThrow();
    },
  );

  it("pauses and starts the machine, and says why it does not train", async () => {
    expect((await tah("pause")).stdout).toContain("Paused by you");
    expect(world.miner.active?.active).toBe(false);
    await tah("start");
    expect(world.miner.active?.active).toBe(true);
  });

  it("names the address that earnings are paid to, and takes nothing else for one", async () => {
    const address = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
    const payout = async (...args: readonly string[]) => jsonResult(await tah("payout", ...args, "--json"));
    expect(await payout("show")).toEqual({ payoutAddress: null });
    expect(outputSchemas["payout set"].parse(await payout("set", address))).toEqual({ payoutAddress: address });
    expect(world.miner.payoutAddress).toBe(address);
    expect(await payout("show")).toEqual({ payoutAddress: address });
    const phrase = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
    for (const pasted of [phrase.split(" "), [phrase], ["ab".repeat(32)]]) {
      const refused = await tah("payout", "set", ...pasted, "--json");
      expect(refused.exitCode).toBe(exitCodes.usage);
      expect(refused.stderr).toContain("STOP");
      for (const text of [refused.stderr, refused.stdout, readdirSync(world.stateFolder).map(contentOf).join("")])
        expect(text).not.toContain(pasted[0]);
    }
    expect(await payout("clear")).toEqual({ payoutAddress: null });
    expect(world.miner.payoutAddress).toBeNull();
  });

  it("names the hotkey that signed its statement, and keeps nothing of what is none", async () => {
    const hotkey = async (...args: readonly string[]) => jsonResult(await tah("hotkey", ...args, "--json"));
    expect((await tah("hotkey", "statement")).exitCode).toBe(exitCodeOf("wrong-state"));
    world.miner.networkId = createIdentity().minerId;
    const { statement, until, networkId } = outputSchemas["hotkey statement"].parse(await hotkey("statement"));
    expect((await tah("hotkey", "statement")).stdout).toContain(
      `btcli wallet sign --use-hotkey --message "${statement}"`,
    );
    const prove = (signature: string, ...more: readonly string[]) =>
      tah("hotkey", "prove", fakeHotkeyAddress, ...more, "--signature", signature, "--until", until, "--json");
    const proven = { hotkey: { address: fakeHotkeyAddress, networkId, until } };
    const signature = signWithFakeHotkey(statement);
    expect(outputSchemas["hotkey prove"].parse(jsonResult(await prove(signature)))).toEqual(proven);
    expect(world.miner.hotkey).toEqual({ ...proven.hotkey, signature });
    const wrong = await prove(signWithFakeHotkey("something else"));
    expect([wrong.exitCode, jsonResult(wrong)]).toMatchObject([
      exitCodeOf("bad-signature"),
      { failure: { action: expect.stringContaining("tah hotkey statement") } },
    ]);
    expect(await hotkey("show")).toEqual(proven);
    expect((await tah("hotkey", "show")).stdout).toContain(fakeHotkeyAddress);
    expect(await hotkey("forget")).toEqual({ hotkey: null });
    expect(world.miner.hotkey).toBeNull();
  });

  it("neither keeps nor repeats a secret that is given where a hotkey or its signature belongs", async () => {
    const words = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";
    const seed = `0x${"ab".repeat(32)}`;
    const until = ["--until", "2027-01-01", "--json"];
    const pasted = [
      ["prove", ...words.split(" "), "--signature", "00", ...until],
      ["prove", fakeHotkeyAddress, "--signature", words, ...until],
      ["prove", "--signature", ...words.split(" "), ...until],
      ["prove", fakeHotkeyAddress, "--signature", seed, ...until],
      ["prove", fakeHotkeyAddress, "--signature", "00", "--until", seed, "--json"],
      ["prove", `{"secretPhrase": "${words}"}`, "--signature", "00", ...until],
      ["prove", "-----BEGIN PRIVATE KEY-----abab", "--json"],
      ["prove", ...words.split(" "), "--json"],
      [seed, "--json"],
    ];
    for (const args of pasted) {
      const refused = await tah("hotkey", ...args);
      expect(refused.exitCode).toBe(exitCodes.usage);
      expect(refused.stderr).toContain("STOP");
      for (const text of [refused.stderr, refused.stdout, readdirSync(world.stateFolder).map(contentOf).join("")])
        expect(text).not.toMatch(/bottom|abab/);
    }
  });

  it("steers the run, and passes on why that is refused", async () => {
    await tah("run", "pause", "demo");
    expect(world.miner.commands).toEqual([{ type: "steer-run", runId, action: "pause" }]);
    world.miner.commandError = new FailureError("not-authorised", "only the owner may do that");
    const refused = await tah("run", "resume", "demo", "--json");
    expect(refused.exitCode).toBe(exitCodeOf("not-authorised"));
    expect(jsonResult(refused)).toMatchObject({ failure: { code: "not-authorised" } });
  });

  it("lists all runs of the network, and shows any of them", async () => {
    const listed = jsonResult(await tah("run", "list", "--json"));
    expect(listed).toMatchObject({ runs: [{ runId }, { runId: other, phase: "paused", weight: 1 }] });
    expect((await tah("run", "list")).stdout.trimEnd().split("\n")).toHaveLength(2);
    expect(jsonResult(await tah("run", "show", "other", "--json"))).toMatchObject({ run: { runId: other } });
  });

  it("creates a run of text that lies beside the person, and asks before it deletes one", async () => {
    await tah("run", "create", "--preset", "tiny", "--data", "notes.txt", "--weight", "4");
    const run = { preset: "tiny", weight: 4, replicas: 2, compression: "auto", data: resolve("notes.txt") };
    expect(world.miner.commands).toEqual([{ type: "create-run", run }]);
    const refused = await tah("run", "delete", "demo");
    expect(refused.exitCode).toBe(exitCodes.usage);
    expect(refused.stderr).toContain("--yes");
    expect(world.miner.commands).toHaveLength(1);
  });

  it("does not find a run that is not there", async () => {
    const missing = await tah("run", "show", "missing", "--json");
    expect(missing.exitCode).toBe(exitCodeOf("not-found"));
    expect(outputSchemas.failure.parse(jsonResult(missing)).failure.code).toBe("not-found");
  });

  it("does not explain a placement that there is not yet", async () => {
    world.miner.emit({ type: "run-update", update: { runId, view: exampleRun() } });
    const missing = await tah("run", "placement", "--json");
    expect(missing.exitCode).toBe(exitCodeOf("not-found"));
  });

  it("ends the daemon", async () => {
    await tah("stop");
    await world.daemon.closed;
    expect((await tah("status")).exitCode).toBe(exitCodeOf("unreachable"));
  });
});

describe("tah run, of a network elsewhere", () => {
  it("shows its run to an observer, who gets no place in it", async () => {
    const world = await openGatewayWorld();
    try {
      const url = `ws://127.0.0.1:${world.gateway.port}`;
      const listed = jsonResult(await runTah("run", "list", "--network", url, "--json"));
      expect(listed).toMatchObject({ runs: [{ runId: world.orchestrator.state.definition.runId, phase: "waiting" }] });
      expect((await runTah("run", "show", "--network", url)).exitCode).toBe(exitCodes.ok);
      expect(world.orchestrator.state.members).toEqual([]);
    } finally {
      await world.close();
    }
  });

  it("says what it has refused, and by what line it is reached", async () => {
    const world = await openGatewayWorld();
    const stateFolder = temporaryFolder();
    try {
      const url = `ws://127.0.0.1:${world.gateway.port}`;
      await fetch(`${url.replace("ws", "http")}/blobs/secret`);
      const status = jsonResult(await runTah("network", "status", "--network", url, "--json"));
      expect(outputSchemas["network status"].parse(status)).toMatchObject({
        networkId: world.networkId,
        runs: [{ runId: world.orchestrator.state.definition.runId, phase: "waiting" }],
        refusals: { "not-authorised": 1 },
      });
      expect((await runTah("network", "status", "--network", url)).stdout).toMatch(
        /refused since it began:\n +1 +not-auth/,
      );
      const quick = ["--network", url, "--no-rates", "--state", stateFolder];
      const doctor = outputSchemas.doctor.parse(jsonResult(await runTah("doctor", ...quick, "--json")));
      expect(doctor).toMatchObject({
        ok: true,
        line: { network: url, way: "relayed", udp: "not-offered", withoutRates: "not-asked" },
        outlook: [],
      });
    } finally {
      await world.close();
      rmSync(stateFolder, { recursive: true });
    }
  }, 60_000);

  it("is steered with this computer's key, if that is an owner's", async () => {
    const stateFolder = temporaryFolder();
    const shown = outputSchemas["identity show"].parse(
      jsonResult(await runTah("identity", "show", "--state", stateFolder, "--json")),
    );
    const world = await openGatewayWorld({ owners: new Set([shown.minerId]) });
    try {
      const elsewhere = ["--network", `ws://127.0.0.1:${world.gateway.port}`, "--json"];
      const own = [...elsewhere, "--state", stateFolder];
      const created = await runTah("run", "create", "--preset", "tiny", "--replicas", "1", ...own);
      expect(jsonResult(created)).toMatchObject({ runId: "tiny", plan: { bottleneckRank: null } });
      expect(jsonResult(await runTah("run", "show", "tiny", ...elsewhere))).toMatchObject({ run: { runId: "tiny" } });
      expect((await runTah("run", "pause", "tiny", ...own)).exitCode).toBe(exitCodes.ok);
      const strangersFolder = temporaryFolder();
      const refused = await runTah("run", "resume", "tiny", ...elsewhere, "--state", strangersFolder);
      expect(refused.exitCode).toBe(exitCodeOf("not-authorised"));
      rmSync(strangersFolder, { recursive: true });
    } finally {
      await world.close();
      rmSync(stateFolder, { recursive: true });
    }
  });

  it("says which address did not answer", async () => {
    const result = await runTah("run", "list", "--network", "ws://127.0.0.1:1");
    expect(result).toMatchObject({
      exitCode: exitCodeOf("unreachable"),
      stderr: expect.stringContaining("127.0.0.1:1"),
    });
  });
});

describe("tah, without a daemon", { timeout }, () => {
  const folder = temporaryFolder();
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("says that nothing runs and how to start it", async () => {
    const result = await runTah("status", "--state", folder, "--json");
    expect(result.exitCode).toBe(exitCodeOf("unreachable"));
    expect(jsonResult(result)).toMatchObject({
      failure: { code: "unreachable", action: expect.stringContaining("npm start") },
    });
    expect(result.stderr).toContain("nothing of Train at Home runs");
  });

  it("examines the machine all the same", async () => {
    const { exitCode, stdout } = await runTah("doctor", "--state", folder);
    expect(exitCode).toBe(exitCodes.ok);
    expect(stdout).toContain("Self-test");
    expect(stdout).toContain("No network is named");
  });

  it("looks over what a network left, and says where there is none", async () => {
    const stateFolder = join(folder, "network");
    mkdirSync(stateFolder, { recursive: true });
    const audit = (...args: readonly string[]) => runTah("network", "audit", "--state", stateFolder, ...args);
    expect((await audit()).exitCode).toBe(exitCodeOf("not-found"));
    await (await EmbeddedStore.open(join(stateFolder, "network.sqlite"))).close();
    const printed = await audit("--json");
    expect(printed.exitCode).toBe(exitCodes.ok);
    expect(outputSchemas["network audit"].parse(jsonResult(printed))).toMatchObject({ ok: true, runs: [] });
    expect((await audit()).stdout).toContain("Everything is in order.");
  });

  it("takes this machine's identity elsewhere, and never over another one", async () => {
    const [home, away] = [temporaryFolder(), temporaryFolder()];
    const file = join(home, "identity.json");
    const passphraseFile = join(home, "passphrase");
    writeFileSync(passphraseFile, "correct horse battery\n");
    const identity = (...args: readonly string[]) => runTah("identity", ...args, "--json");
    const sealed = ["--passphrase-file", passphraseFile];
    const shown = outputSchemas["identity show"].parse(jsonResult(await identity("show", "--state", home)));
    const exported = await identity("export", file, ...sealed, "--state", home);
    expect(jsonResult(exported)).toEqual({ minerId: shown.minerId, file });
    expect((await identity("export", file, ...sealed, "--state", home)).exitCode).toBe(exitCodes.usage);
    expect(statSync(file).mode & 0o077).toBe(0);
    const { minerId: own } = outputSchemas["identity show"].parse(jsonResult(await identity("show", "--state", away)));
    const into = ["import", file, "--state", away];
    expect((await identity(...into, ...sealed)).exitCode).toBe(exitCodeOf("wrong-state"));
    expect(storedIdentity(away)?.minerId).toBe(own);
    const imported = jsonResult(await identity(...into, ...sealed, "--force"));
    const { minerId, backup } = outputSchemas["identity import"].parse(imported);
    expect([minerId, storedIdentity(away)?.minerId]).toEqual([shown.minerId, shown.minerId]);
    expect(importIdentity(readFileSync(backup ?? "", "utf8")).minerId).toBe(own);
    writeFileSync(passphraseFile, "wrong horse battery\n");
    expect((await identity(...into, ...sealed)).exitCode).toBe(exitCodeOf("not-authorised"));
    expect((await identity(...into, "--passphrase-file", join(home, "none"))).exitCode).toBe(
      exitCodeOf("file-unreadable"),
    );
    for (const folder of [home, away]) rmSync(folder, { recursive: true });
  });

  it("says where this machine's private key lies, and moves it, while no daemon works", async () => {
    const home = temporaryFolder();
    const identity = (...args: readonly string[]) => runTah("identity", ...args, "--state", home);
    expect((await identity("move", "file")).exitCode).toBe(exitCodeOf("not-found"));
    const { key, minerId } = outputSchemas["identity show"].parse(jsonResult(await identity("show", "--json")));
    expect(key).toEqual({ ok: true, place: "file", detail: expect.stringContaining("keyStore") });
    expect((await identity("show")).stdout).toContain("identity.pem");
    const moved = outputSchemas["identity move"].parse(jsonResult(await identity("move", "file", "--json")));
    expect(moved).toEqual({ minerId, place: "file", leftBehind: null });
    expect((await identity("move", "file")).stdout).toContain(`The key of ${minerId} is in identity.pem.`);
    expect((await identity("move", "elsewhere")).exitCode).toBe(exitCodes.usage);
    const world = await startDaemonWorld({ stateFolder: home });
    expect((await identity("move", "file")).exitCode).toBe(exitCodeOf("already-running"));
    await world.close();
  });

  it("invites, bans and lets back, on the computer that serves the network", async () => {
    const stateFolder = temporaryFolder();
    const network = (...args: readonly string[]) => runTah("network", ...args, "--state", stateFolder, "--json");
    expect((await network("invite")).exitCode).toBe(exitCodeOf("not-found"));
    const { minerId: networkId } = networkIdentity(stateFolder);
    const address = `wss://home:7700#certificate=${"ab".repeat(32)}`;
    const invited = jsonResult(await network("invite", "--uses", "3", "--address", address));
    const invitation = outputSchemas["network invite"].parse(invited);
    expect(invitation.address).toBe(`${address},invitation=${invitation.token}`);
    expect(readInvitation(invitation.token, networkId)).toMatchObject({ id: invitation.id, uses: 3 });
    const key = createIdentity().minerId;
    expect((await network("unban", key)).exitCode).toBe(exitCodeOf("not-found"));
    expect((await network("ban", key)).exitCode).toBe(exitCodes.usage);
    outputSchemas["network ban"].parse(jsonResult(await network("ban", key, "--reason", "sends garbage")));
    expect(jsonResult(await network("bans"))).toMatchObject({ bans: [{ minerId: key, reason: "sends garbage" }] });
    expect(jsonResult(await network("unban", key))).toEqual({ minerId: key });
    expect((await runTah("network", "bans", "--state", stateFolder)).stdout).toContain("Nobody");
    const hotkeys = async () => outputSchemas["network hotkeys"].parse(jsonResult(await network("hotkeys"))).hotkeys;
    expect(await hotkeys()).toEqual([]);
    const proof = fakeHotkeyProof(key, networkId, Date.now());
    const register = { stateFolder, networkId, hasReceipts: async () => true, clock: Date.now, log: () => undefined };
    await new HotkeyRegister(register).take(key, proof);
    expect(await hotkeys()).toEqual([{ minerId: key, ...proof }]);
    expect((await runTah("network", "hotkeys", "--state", stateFolder)).stdout).toContain(fakeHotkeyAddress);
    rmSync(stateFolder, { recursive: true });
  });

  it.each([
    ["a certificate without its key", ["network", "serve", "--tls-cert", "a.pem"], "private key"],
    ["an unknown command", ["dance"], "dance"],
    ["an unknown flag", ["status", "--loudly"], "--loudly"],
    ["a flag's wrong value", ["demo", "--stages", "many"], "--stages"],
    ["a value outside its choices", ["demo", "--mode", "psychic"], "psychic"],
    ["a command that its group lacks", ["run", "dance"], "dance"],
    ["a run described without its preset", ["network", "serve", "--stages", "2"], "--stages"],
    ["a weight of nothing", ["run", "weight", "demo", "0"], "number"],
    ["an address that is none", ["mine", "--network", "http://here"], "ws://HOST:PORT"],
  ])("answers %s with a usage error that names it", async (_what, args, named) => {
    const result = await runTah(...args, "--json");
    expect(result.exitCode).toBe(exitCodes.usage);
    expect(jsonResult(result)).toMatchObject({
      failure: { code: "invalid-option", message: expect.stringContaining(named) },
    });
  });

  it("explains every command", async () => {
    const { exitCode, stdout } = await runTah("--help");
    expect(exitCode).toBe(exitCodes.ok);
    for (const name of Object.keys(outputSchemas).filter((key) => key !== "failure"))
      expect((await runTah(...name.split(" "), "--help")).stdout, name).toContain("--json");
    expect(stdout).toContain("demo");
  });
});

describe("exit codes", () => {
  it("are one for each expected failure, and none is used twice", () => {
    const codes = [exitCodes.ok, exitCodes.bug, ...failureCodes.map(exitCodeOf), ...Object.values(setupExitCodes)];
    expect(new Set(codes).size).toBe(codes.length);
    for (const code of codes) expect(code).toBeLessThan(126);
  });

  it("are documented", () => {
    const page = readFileSync(new URL("../../docs/cli.md", import.meta.url), "utf8");
    const named = failureCodes
      .filter((name) => name !== "invalid-option")
      .map((name) => [name, exitCodeOf(name)] as const);
    for (const [name, code] of [...named, ...Object.entries(setupExitCodes)])
      expect(page).toContain(`${code} \`${name}\``);
  });
});

describe("documented shapes", () => {
  it.each(Object.keys(outputSchemas) as (keyof typeof outputSchemas)[])(
    "of %s are those of docs/schemas",
    async (name) => {
      const schema = z.toJSONSchema(outputSchemas[name], { io: "output" });
      const file = `../../docs/schemas/${name.replace(" ", "-")}.json`;
      await expect(`${JSON.stringify(schema, null, 2)}\n`).toMatchFileSnapshot(file);
    },
  );
});
