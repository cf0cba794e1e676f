import { readFileSync } from "node:fs";

/** Bytes of the host's memory behind what a process maps of a snapshot's memory file. */
export interface SharedMemory {
  /** Pages of the file, each counted in full. */
  readonly resident: number;
  /** The same, each page divided among the processes that map it. */
  readonly proportional: number;
}

/** What /proc/PID/smaps (proc(5)) says of the pages that the process has not copied. */
export function sharedMemory(pid: number): SharedMemory {
  const mappings = readFileSync(`/proc/${pid}/smaps`, "latin1").split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
  let [resident, proportional] = [0, 0];
  for (const mapping of mappings) {
    if (!/^\S+ \S+ \S+ \S+ \d+ +\/.*\/memory(?: \(deleted\))?$/m.test(mapping)) continue;
    const kib = (field: string) =>
      Number(new RegExp(`^${field}: +(\\d+) kB$`, "m").exec(mapping)?.[1] ?? 0);
    const copied = kib("Anonymous");
    resident += (kib("Rss") - copied) * 1024;
    proportional += (kib("Pss") - copied) * 1024;
  }
  return { resident, proportional };
}
