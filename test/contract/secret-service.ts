/**
 * A real Secret Service for tests: GNOME's keyring on a message bus of its own, with a folder of its own. Linux with `dbus-daemon` and
 * `gnome-keyring-daemon`; elsewhere tests that need it are skipped with the reason, which REQUIRE_KEY_STORE=1 makes a failure.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline/promises";

const neededPrograms = ["dbus-daemon", "gnome-keyring-daemon"];

/** Undefined: there is one, or it is required. */
export const secretServiceMissing = reasonWithout();

function reasonWithout(): string | undefined {
  if (process.platform !== "linux") return "Secret Service is Linux's";
  if (process.env.REQUIRE_KEY_STORE === "1") return undefined;
  for (const program of neededPrograms) {
    const { error, status } = spawnSync(program, ["--version"]);
    if (error !== undefined || status !== 0) return `${program} cannot be run`;
  }
  return undefined;
}

export class SecretService {
  readonly #home = mkdtempSync(join(tmpdir(), "tah-secret-service-"));
  #bus: ChildProcess | null = null;
  #address = "";

  /** For who speaks with it. */
  get environment(): NodeJS.ProcessEnv {
    const own = { HOME: this.#home, XDG_RUNTIME_DIR: this.#home, XDG_DATA_HOME: join(this.#home, "data") };
    return { PATH: process.env.PATH, ...own, DBUS_SESSION_BUS_ADDRESS: this.#address };
  }

  /** As after a start of the computer and a login, which opens the keyring; where there is none yet, it is made. */
  async startUnlocked(): Promise<void> {
    await this.#startBus();
    await this.#startKeyring(["--unlock"], "a password");
  }

  /** As after a start of the computer, when nobody has logged in. */
  async startLocked(): Promise<void> {
    await this.#startBus();
    await this.#startKeyring([], "");
  }

  async close(): Promise<void> {
    await this.#stopBus();
    rmSync(this.#home, { recursive: true, force: true });
  }

  /** Without folders of services, so that nothing but the keyring runs, and nobody is asked for its password. */
  async #startBus(): Promise<void> {
    await this.#stopBus();
    const configuration = join(this.#home, "bus.conf");
    mkdirSync(join(this.#home, "data"), { recursive: true });
    writeFileSync(
      configuration,
      `<busconfig><type>session</type><listen>unix:dir=${this.#home}</listen><auth>EXTERNAL</auth>
      <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>`,
    );
    const args = [`--config-file=${configuration}`, "--nofork", "--print-address=1"];
    this.#bus = spawn("dbus-daemon", args, { stdio: ["ignore", "pipe", "ignore"] });
    if (this.#bus.stdout === null) throw new Error("the message bus says no address");
    const [address] = await once(createInterface({ input: this.#bus.stdout }), "line");
    this.#address = address;
  }

  /** It goes to the background once it serves, and ends with its bus. */
  async #startKeyring(flags: readonly string[], password: string): Promise<void> {
    const args = ["--daemonize", "--components=secrets", ...flags];
    const keyring = spawn("gnome-keyring-daemon", args, { stdio: ["pipe", "ignore", "ignore"], env: this.environment });
    keyring.stdin.end(password);
    const [code] = await once(keyring, "exit");
    if (code !== 0) throw new Error(`gnome-keyring-daemon ended with ${code}`);
  }

  async #stopBus(): Promise<void> {
    const bus = this.#bus;
    if (bus === null) return;
    const ended = once(bus, "exit");
    bus.kill();
    await ended;
    this.#bus = null;
  }
}
