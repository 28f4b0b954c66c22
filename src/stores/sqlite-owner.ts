/**
 * Who made a reservation in a file that several processes share: enough to tell, when the file is opened again, that
 * the maker cannot come back.
 */
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

interface Owner {
  readonly host: string;
  /** Changes with each start of the machine; "" where the system does not tell. */
  readonly boot: string;
  /** Process ids mean something only inside one namespace (containers); "" where there are none. */
  readonly space: string;
  readonly pid: number;
  /** When the process started: clock ticks (Linux) or seconds since the machine started. */
  readonly start: number;
}

let current: Owner | undefined;

/** This process, as text. */
export function currentOwner(): string {
  return JSON.stringify(self());
}

/** True only when the owner surely cannot come back. Of another host or container we cannot tell. */
export function isDead(text: string): boolean {
  const owner = parse(text);
  const me = self();
  if (!owner || owner.host !== me.host) return false;
  if (owner.boot !== me.boot) return true;
  if (owner.space !== me.space) return false;
  // Two seconds: outside Linux the start is computed from two clocks.
  if (owner.pid === me.pid) return Math.abs(owner.start - me.start) > (me.boot === "" ? 2 : 0);
  if (!isRunning(owner.pid)) return true;
  const stat = processStat(owner.pid);
  return stat !== undefined && (stat.ended || stat.start !== owner.start);
}

function self(): Owner {
  current ??= {
    host: hostname(),
    boot: tryRead(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()) ?? "",
    space: tryRead(() => readlinkSync("/proc/self/ns/pid")) ?? "",
    pid: process.pid,
    start: processStat(process.pid)?.start ?? Math.round(Number(process.hrtime.bigint()) / 1e9 - process.uptime()),
  };
  return current;
}

function parse(text: string): Owner | undefined {
  const owner = tryRead(() => JSON.parse(text) as Partial<Owner> | null);
  return typeof owner?.pid === "number" && typeof owner.start === "number" ? (owner as Owner) : undefined;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** From Linux' /proc; undefined elsewhere. A process that ended but was not waited for yet counts as ended. */
function processStat(pid: number): { start: number; ended: boolean } | undefined {
  const stat = tryRead(() => readFileSync(`/proc/${pid}/stat`, "latin1"));
  if (stat === undefined) return undefined;
  // The second field is the command in parentheses and may hold anything; count from its end.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { start: Number(fields[19]), ended: fields[0] === "Z" || fields[0] === "X" };
}

function tryRead<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
