/** What Linux tells of a process in /proc. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Memory that it has at the moment; 0 when it has ended. */
export function residentBytes(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readIfThere(`/proc/${pid}/status`)) ?? [];
  return Number(kilobytes ?? 0) * 1024;
}

/** UDP ports (IPv4) on which it listens. */
export function datagramPortsOf(pid: number): readonly number[] {
  const folder = `/proc/${pid}/fd`;
  const inodes = new Set(
    readdirSync(folder).flatMap((name) => /^socket:\[(\d+)\]$/.exec(linkIfThere(`${folder}/${name}`))?.[1] ?? []),
  );
  const [, ...rows] = readIfThere(`/proc/${pid}/net/udp`).trim().split("\n");
  return rows.flatMap((row) => {
    const columns = row.trim().split(/\s+/);
    const [, localAddress = "", , , , , , , , inode = ""] = columns;
    return inodes.has(inode) ? [Number.parseInt(localAddress.split(":")[1] ?? "", 16)] : [];
  });
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function linkIfThere(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
