import { readdirSync, readlinkSync } from "node:fs";
import { closeFd } from "@supermachine-internal/libc";
import { duplicateFrom, fileLimit } from "./system-calls.js";

/** As many as one machine that is busy has open. */
const BUSY = 65_536;

/**
 * Has the kernel make this process's table of files large at once. It doubles it as files are opened, and in a
 * process with threads waits several milliseconds each time.
 */
export function makeRoomForFiles(): void {
  const { soft } = fileLimit(0);
  const last = duplicateFrom(0, Math.min(soft, BUSY) - 1);
  if (last !== undefined) closeFd(last);
}

/**
 * Closes the files, directories and devices that this process was started with beyond `kept`, which would be
 * ways out of its sandbox. Those of the runtime itself are pipes, eventfds and the like. Returns what was closed.
 */
export function closeInheritedFiles(kept: ReadonlySet<number>): string[] {
  const closed: string[] = [];
  for (const name of readdirSync("/proc/self/fd")) {
    const fd = Number(name);
    if (kept.has(fd)) continue;
    const target = linkTarget(fd);
    // libuv keeps /dev/null open, in reserve.
    if (target?.startsWith("/") !== true || target === "/dev/null") continue;
    closeFd(fd);
    closed.push(target);
  }
  return closed;
}

function linkTarget(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    // The descriptor of the listing itself.
    return undefined;
  }
}
