import { readFileSync, readlinkSync } from "node:fs";
import { readFile } from "node:fs/promises";

/*
 * What Linux knows of this process's use of the host. The files are read in libuv's threads: the kernel
 * walks page tables for /proc/self/smaps, for which no device should wait.
 */

/** Memory of the host behind guest memory. */
export interface MappedMemory {
  /** Pages present in the host's memory, those shared with other machines of one snapshot included. */
  readonly residentBytes: number;
  /** Pages that are this machine's alone: what its guest has written to. */
  readonly privateBytes: number;
  readonly swappedBytes: number;
}

/** A range of host addresses, the end excluded. */
export interface AddressRange {
  readonly start: bigint;
  readonly end: bigint;
}

const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) /;
const FIELD = /^(Rss|Anonymous|Swap):\s+(\d+) kB$/;

/** Adds up the mappings of /proc/PID/smaps (proc(5)) that overlap one of `ranges`. */
export function sumMappings(smaps: string, ranges: readonly AddressRange[]): MappedMemory {
  const sums = { Rss: 0, Anonymous: 0, Swap: 0 };
  let counts = false;
  for (const line of smaps.split("\n")) {
    const [, start, end] = MAPPING.exec(line) ?? [];
    if (start !== undefined && end !== undefined) {
      const from = BigInt(`0x${start}`);
      const to = BigInt(`0x${end}`);
      counts = ranges.some((range) => range.start < to && from < range.end);
    } else if (counts) {
      const [, name, kib] = FIELD.exec(line) ?? [];
      if (name !== undefined) sums[name as keyof typeof sums] += Number(kib) * 1024;
    }
  }
  return { residentBytes: sums.Rss, privateBytes: sums.Anonymous, swappedBytes: sums.Swap };
}

/** Memory of this process behind `ranges`; `undefined` where the system does not tell. */
export async function mappedMemory(
  ranges: readonly AddressRange[],
): Promise<MappedMemory | undefined> {
  const smaps = await readFile("/proc/self/smaps", "latin1").catch(() => undefined);
  return smaps === undefined ? undefined : sumMappings(smaps, ranges);
}

/** Processor time of a thread. */
export interface ThreadTime {
  /** On a processor: in the guest, in the kernel and here. */
  readonly cpuSeconds: number;
  /** Ready to run, and waiting for a processor of the host. */
  readonly waitSeconds: number;
}

/** This thread, as the kernel numbers it; 0 where the system does not tell. */
export function currentThread(): number {
  try {
    return Number(readlinkSync("/proc/thread-self").split("/").at(-1));
  } catch {
    return 0;
  }
}

/** Processor time of a thread of this process; `undefined` where the system does not tell. */
export async function threadTime(threadId: number): Promise<ThreadTime | undefined> {
  const path = `/proc/self/task/${threadId}/schedstat`;
  const text = await readFile(path, "latin1").catch(() => undefined);
  return parseTime(text);
}

/** Processor time of this thread so far; `undefined` where the system does not tell. */
export function ownThreadTime(): ThreadTime | undefined {
  try {
    return parseTime(readFileSync("/proc/thread-self/schedstat", "latin1"));
  } catch {
    return undefined;
  }
}

/** Of a schedstat file: nanoseconds on a processor, nanoseconds waiting for one. */
function parseTime(text: string | undefined): ThreadTime | undefined {
  const [running, waiting] = text?.split(" ").map((nanoseconds) => Number(nanoseconds) / 1e9) ?? [];
  if (running === undefined || waiting === undefined) return undefined;
  return { cpuSeconds: running, waitSeconds: waiting };
}
