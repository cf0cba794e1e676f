import { readFileSync } from "node:fs";
import { fileLimit, setFileLimit } from "./system-calls.js";

/** More is of no use: virtiofsd's figure, too. */
const ENOUGH = 1_000_000;

/**
 * Raises how many files the process `pid` may have open, to `wanted` or as far as is allowed. Gives the limit
 * that holds then.
 *
 * @param wanted - 0 leaves it as it is. Default: a million, or what the kernel allows.
 */
export function raiseFileLimit(pid: number, wanted?: number): number {
  const { soft, hard } = fileLimit(pid);
  if (wanted === 0 || (wanted === undefined && soft >= ENOUGH)) return soft;
  const most = Number(readFileSync("/proc/sys/fs/nr_open", "latin1"));
  const goal = Math.min(wanted ?? ENOUGH, most);
  try {
    setFileLimit(pid, goal, Math.max(goal, hard));
    return goal;
  } catch {
    // Only CAP_SYS_RESOURCE raises the hard limit.
    const reachable = Math.min(goal, hard);
    setFileLimit(pid, reachable, hard);
    return reachable;
  }
}
