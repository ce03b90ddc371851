/** Which processor time a swarm's processes have taken, as Linux counts it in /proc. */
import { readdirSync, readFileSync } from "node:fs";

export type ProcessRole = "workers" | "daemons" | "orchestrator" | "links";

/** Seconds of one processor. Processes that have ended count with those that waited for them. */
export type ProcessorSeconds = Readonly<Record<ProcessRole, number>>;

export interface SwarmProcesses {
  readonly daemons: readonly number[];
  readonly orchestrator: number;
  /** The program that emulates the links; null: there is none. */
  readonly links: number | null;
}

interface ProcessTime {
  readonly parent: number;
  readonly ownSeconds: number;
  readonly endedChildrenSeconds: number;
}

/** Of /proc/PID/stat; what it counts in is fixed for all of Linux. */
const ticksPerSecond = 100;
/** Counted from the field after the name: a name may hold spaces and brackets. See proc_pid_stat(5). */
const field = { parent: 1, user: 11, system: 12, childrenUser: 13, childrenSystem: 14 } as const;

/** Null where there is no /proc. */
export function processorSeconds({ daemons, orchestrator, links }: SwarmProcesses): ProcessorSeconds | null {
  if (process.platform !== "linux") return null;
  const processes = readProcesses();
  const own = (pid: number) => processes.get(pid)?.ownSeconds ?? 0;
  const living = workersAmong(processes, daemons).map(([, { ownSeconds }]) => ownSeconds);
  const ended = daemons.map((pid) => processes.get(pid)?.endedChildrenSeconds ?? 0);
  return {
    workers: sum([...living, ...ended]),
    daemons: sum(daemons.map(own)),
    orchestrator: own(orchestrator),
    links: links === null ? 0 : own(links),
  };
}

/** The process ids of daemons' workers; none where there is no /proc. */
export function workersOf(daemons: readonly number[]): readonly number[] {
  return process.platform === "linux" ? workersAmong(readProcesses(), daemons).map(([pid]) => pid) : [];
}

function workersAmong(processes: ReadonlyMap<number, ProcessTime>, daemons: readonly number[]) {
  return [...processes].filter(([, { parent }]) => daemons.includes(parent));
}

function readProcesses(): ReadonlyMap<number, ProcessTime> {
  const processes = new Map<number, ProcessTime>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    const time = Number.isInteger(pid) ? readProcess(pid) : null;
    if (time !== null) processes.set(pid, time);
  }
  return processes;
}

/** Null when it has ended meanwhile. */
function readProcess(pid: number): ProcessTime | null {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null;
  }
  return parseProcess(text);
}

export function parseProcess(text: string): ProcessTime {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const value = (name: keyof typeof field) => Number(fields[field[name]]);
  return {
    parent: value("parent"),
    ownSeconds: (value("user") + value("system")) / ticksPerSecond,
    endedChildrenSeconds: (value("childrenUser") + value("childrenSystem")) / ticksPerSecond,
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
