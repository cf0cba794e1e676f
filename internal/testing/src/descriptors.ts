import { readdirSync } from "node:fs";

/** The open file descriptors of this process, as decimal names, to compare before and after (Linux). */
export function openDescriptors(): string[] {
  // readdir lists its own descriptor, too: always the lowest free one.
  return readdirSync("/proc/self/fd");
}
