/**
 * Homes behind routers as people have them, on this computer: a server with a public address, and homes whose routers translate
 * addresses (nftables). Each is a network namespace that lives as long as a process of ours, so all are gone when that ends.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";

export type Router =
  /** Keeps a computer's port towards everybody, and lets in who was written to ("cone"). */
  | "cone"
  /** Takes another port for everyone that is written to. */
  | "symmetric"
  /** As a cone, but passes no UDP on. */
  | "no-udp";

const serverHost = "203.0.113.1";
/** Every namespace ends by itself after so long, whatever happens to this process. */
const longestSeconds = 600;

class Namespace {
  readonly #holder: ChildProcess;
  readonly enter: readonly string[];

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
    this.enter = ["nsenter", `--net=/proc/${holder.pid}/ns/net`, "--"];
  }

  static async open(): Promise<Namespace> {
    const script = `ip link set lo up && sysctl -qw net.ipv4.ip_forward=1 && echo ready && exec sleep ${longestSeconds}`;
    const holder = spawn("unshare", ["--net", "sh", "-c", script], { stdio: ["ignore", "pipe", "inherit"] });
    await once(holder.stdout, "data");
    return new Namespace(holder);
  }

  run(command: string, input = ""): void {
    const [program = "", ...args] = [...this.enter, ...command.split(" ")];
    execFileSync(program, args, { input, stdio: ["pipe", "ignore", "inherit"] });
  }

  /** A cable: `near` here, `far` there. */
  connect(near: string, other: Namespace, far: string): void {
    this.run(`ip link add ${near} type veth peer name ${far} netns ${other.#holder.pid}`);
    this.run(`ip link set ${near} up`);
    other.run(`ip link set ${far} up`);
  }

  async close(): Promise<void> {
    const exited = once(this.#holder, "exit");
    this.#holder.kill();
    await exited;
  }
}

export interface Home {
  /** The beginning of a command that is to run there. */
  readonly enter: readonly string[];
  /** The router is started again: it has forgotten what it translated, and the provider gives it another address. */
  restartRouter(): void;
}

export class NatNetwork {
  readonly serverHost = serverHost;
  readonly server: { readonly enter: readonly string[] };
  readonly homes: readonly Home[];
  readonly #namespaces: readonly Namespace[];

  private constructor(server: Namespace, homes: readonly Home[], namespaces: readonly Namespace[]) {
    this.server = server;
    this.homes = homes;
    this.#namespaces = namespaces;
  }

  static async open(routers: readonly Router[]): Promise<NatNetwork> {
    const server = await Namespace.open();
    const namespaces = [server];
    server.run("ip link add internet type bridge");
    server.run(`ip addr add ${serverHost}/24 dev internet`);
    server.run("ip link set internet up");
    const homes: Home[] = [];
    for (const [index, kind] of routers.entries()) {
      const [router, home] = [await Namespace.open(), await Namespace.open()];
      namespaces.push(router, home);
      server.connect(`line${index}`, router, "line");
      server.run(`ip link set line${index} master internet`);
      router.connect("lan", home, "lan");
      router.run(`ip addr add 192.168.${index}.1/24 dev lan`);
      home.run(`ip addr add 192.168.${index}.2/24 dev lan`);
      home.run(`ip route add default via 192.168.${index}.1`);
      router.run("nft -f -", rulesOf(kind));
      let restarts = 0;
      const addressOf = () => `203.0.113.${10 + 10 * index + restarts}/24`;
      router.run(`ip addr add ${addressOf()} dev line`);
      homes.push({
        enter: home.enter,
        restartRouter() {
          // Linux forgets the translations of an address that goes.
          router.run(`ip addr del ${addressOf()} dev line`);
          restarts += 1;
          router.run(`ip addr add ${addressOf()} dev line`);
        },
      });
    }
    return new NatNetwork(server, homes, namespaces);
  }

  /** Why there can be none here; null when there can. */
  static impossibleBecause(): string | null {
    if (process.platform !== "linux") return "routers are emulated with Linux's network namespaces";
    if (process.getuid?.() !== 0) return "only root may create network namespaces";
    try {
      execFileSync("unshare", ["--net", "nft", "list", "ruleset"], { stdio: "ignore" });
      return null;
    } catch {
      return "there is no nft, or it may not be used";
    }
  }

  async close(): Promise<void> {
    for (const namespace of this.#namespaces.toReversed()) await namespace.close();
  }
}

/** What comes from outside unasked is dropped, also when it is for the router itself: else it would take up the port that it came to. */
function rulesOf(kind: Router): string {
  const masquerade = kind === "symmetric" ? "masquerade random,fully-random" : "masquerade";
  return `
    table ip home {
      chain translated {
        type nat hook postrouting priority srcnat
        oifname "line" ${masquerade}
      }
      chain received {
        type filter hook input priority filter
        ct state established,related accept
        iifname "line" drop
      }
      chain passed {
        type filter hook forward priority filter
        ${kind === "no-udp" ? "meta l4proto udp drop" : ""}
        ct state established,related accept
        iifname "line" drop
      }
    }
  `;
}
