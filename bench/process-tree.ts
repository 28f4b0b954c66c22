import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks of /proc, the same on every architecture of Linux. */
const TICK_US = 10_000;

/** CPU µs so far of a process and of all below it, by process id; nothing where there is no /proc. */
export function cpuOfTree(root: number): Map<number, number> | undefined {
  const parents = new Map<number, number>();
  const cpu = new Map<number, number>();
  for (const name of list("/proc")) {
    const pid = Number(name);
    const stat = Number.isInteger(pid) ? read(`/proc/${pid}/stat`) : undefined;
    if (!stat) continue;
    // The name in brackets may hold anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    parents.set(pid, Number(fields[1]));
    cpu.set(pid, TICK_US * (Number(fields[11]) + Number(fields[12])));
  }
  if (!cpu.has(root)) return undefined;
  const isBelow = (pid: number | undefined): boolean => pid === root || (!!pid && isBelow(parents.get(pid)));
  return new Map([...cpu].filter(([pid]) => isBelow(pid)));
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Processes end while they are read. */
function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
