import { readFileSync } from "node:fs";
import { IoUring } from "./io-uring.js";

/** How many numbers a list such as `0-3,8` names: the format of sysfs. */
export function countOfList(list: string): number {
  let count = 0;
  for (const [, first = "", last = first] of list.matchAll(/(\d+)(?:-(\d+))?/g)) {
    count += Number(last) - Number(first) + 1;
  }
  return count;
}

/**
 * The queues for each of `threads` threads, or undefined where this process cannot use io_uring. Linux
 * has a queue for each CPU that there may ever be, and wants them all.
 */
export function distributeQueues(threads: number): number[][] | undefined {
  try {
    new IoUring(1).close();
  } catch {
    return undefined;
  }
  const cpus = countOfList(readFileSync("/sys/devices/system/cpu/possible", "latin1"));
  const queues: number[][] = Array.from({ length: threads }, () => []);
  for (let cpu = 0; cpu < cpus; cpu++) queues[cpu % threads]?.push(cpu);
  return queues;
}
