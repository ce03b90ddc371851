/**
 * Whether the connection that this computer uses is metered: paid for by what passes through it, like a phone's. Only the operating
 * system knows. Linux: NetworkManager's property of that name, over D-Bus or by `nmcli`. Windows: the connection profile's cost.
 * macOS tells only programs of its own kind (`NWPath.isExpensive`), so there it is not known. The answers are read from recorded
 * ones in tests; the Windows query has not run on Windows yet.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { platform } from "node:os";
import { promisify } from "node:util";

/** The standard output of a program. Rejects when it is not there, fails or takes too long. */
export type RunProgram = (program: string, parameters: readonly string[]) => Promise<string>;

const timeoutMs = 5000;

const windowsQuery =
  "[Windows.Networking.Connectivity.NetworkInformation,Windows.Networking.Connectivity,ContentType=WindowsRuntime]" +
  "::GetInternetConnectionProfile().GetConnectionCost().NetworkCostType";

/** Of the connection to a network. Null: not known, or the network is on this very computer. */
export async function probeMetered(
  networkUrl: string,
  system: NodeJS.Platform = platform(),
  run: RunProgram = runProgram,
  readRoutes: () => Promise<string> = () => readFile("/proc/net/route", "utf8"),
): Promise<boolean | null> {
  if (isThisComputer(new URL(networkUrl))) return null;
  // A program that is missing, or a service that does not run, is no answer, and there may be another way to ask.
  const attempt = (ask: () => Promise<boolean | null>) => ask().catch(() => null);
  if (system === "linux") return (await attempt(() => askBus(run))) ?? attempt(() => askNmcli(run, readRoutes));
  if (system === "win32") return attempt(() => askPowerShell(run));
  return null;
}

function isThisComputer({ hostname }: URL): boolean {
  return hostname === "localhost" || hostname === "[::1]" || hostname.startsWith("127.");
}

async function askBus(run: RunProgram): Promise<boolean | null> {
  const service = "org.freedesktop.NetworkManager";
  const path = "/org/freedesktop/NetworkManager";
  return meteredOfBus(await run("busctl", ["get-property", service, path, service, "Metered"]));
}

/** Of NMMetered: 1 yes, 2 no, 3 guessed yes, 4 guessed no; 0 is unknown. */
export function meteredOfBus(output: string): boolean | null {
  const value = /^u ([0-4])\s*$/.exec(output)?.[1];
  if (value === undefined || value === "0") return null;
  return value === "1" || value === "3";
}

async function askNmcli(run: RunProgram, readRoutes: () => Promise<string>): Promise<boolean | null> {
  const device = defaultDevice(await readRoutes());
  if (device === null) return null;
  return meteredOfNmcli(await run("nmcli", ["-g", "GENERAL.METERED", "device", "show", device]));
}

/** Of /proc/net/route: the device behind which everything lies, that with the lowest metric. */
export function defaultDevice(routes: string): string | null {
  const defaults = routes
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, destination, , , , , , mask]) => destination === "00000000" && mask === "00000000")
    .sort((a, b) => Number(a[6]) - Number(b[6]));
  return defaults[0]?.[0] ?? null;
}

export function meteredOfNmcli(output: string): boolean | null {
  const answer = /^(yes|no)\b/.exec(output.trim())?.[1];
  return answer === undefined ? null : answer === "yes";
}

async function askPowerShell(run: RunProgram): Promise<boolean | null> {
  return meteredOfWindows(await run("powershell.exe", ["-NoProfile", "-NonInteractive", "-Command", windowsQuery]));
}

/** Of NetworkCostType: fixed is a data plan with a limit, variable is paid by the byte. */
export function meteredOfWindows(output: string): boolean | null {
  const cost = output.trim();
  if (cost === "Fixed" || cost === "Variable") return true;
  return cost === "Unrestricted" ? false : null;
}

const runFile = promisify(execFile);

async function runProgram(program: string, parameters: readonly string[]): Promise<string> {
  const environment = { ...process.env, LC_ALL: "C" };
  const { stdout } = await runFile(program, parameters, { timeout: timeoutMs, windowsHide: true, env: environment });
  return stdout;
}
