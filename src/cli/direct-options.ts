/** The options by which `tah network serve` lets miners reach each other directly. */
import { isIPv4 } from "node:net";
import { type Command, Option } from "commander";
import type { NetworkOptions } from "../network/serve.ts";
import { lanAddresses } from "./demo/lan-addresses.ts";
import { ipv4Value, portValue } from "./option-types.ts";

export interface DirectOptions {
  readonly direct: "on" | "off";
  readonly directHost?: string;
  readonly directPort?: number;
}

/** Where the network itself listens. */
export interface ListeningOptions {
  readonly host: string;
  readonly port: number;
  readonly behindProxy?: boolean;
}

export function withDirectOptions(command: Command): Command {
  const text = "let miners reach each other directly, over UDP, and not only through this computer";
  return command
    .addOption(new Option("--direct <choice>", text).choices(["on", "off"]).default("on"))
    .option("--direct-host <address>", "IPv4 address at which miners reach this computer", ipv4Value)
    .option(
      "--direct-port <port>",
      "first of four UDP ports; 0: any free ones (default: those after --port, if free)",
      portValue,
    );
}

/** Undefined: all that miners say to each other goes through this computer. `note` says so where that was not asked for. */
export function bootstrapOptions(
  { host, port, behindProxy = false, direct, directHost, directPort }: ListeningOptions & DirectOptions,
  note: (text: string) => void,
): NetworkOptions["direct"] {
  if (direct === "off") return undefined;
  // A proxy on this computer passes connections on, and no UDP: miners have to reach that themselves.
  const isHidden = behindProxy && isLoopbackHost(host);
  const listenHost = isHidden ? "0.0.0.0" : host.replace("localhost", "127.0.0.1");
  const ownHost = listenHost === "0.0.0.0" ? lanAddresses()[0] : listenHost;
  const publicHost = directHost ?? (isHidden ? undefined : ownHost);
  if (publicHost === undefined || !isIPv4(publicHost)) {
    note("Miners do not reach each other directly: --direct-host names no IPv4 address of this computer.");
    return undefined;
  }
  const ports =
    directPort === undefined ? { firstPort: port === 0 ? 0 : port + 1, orAnyPort: true } : { firstPort: directPort };
  return { listenHost, publicHost, ...ports };
}

export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}
