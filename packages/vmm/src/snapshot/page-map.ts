import { closeSync, openSync, readSync } from "node:fs";

/** Linux, Documentation/admin-guide/mm/pagemap.rst: the flags of an entry, in its upper 32 bits. */
const PRESENT_OR_SWAPPED = 0xc000_0000;
const FILE_OR_SHARED = 0x2000_0000;

const PAGE = 4096;
const ENTRY = 8;
/** Pages looked at with one read. */
const BATCH = 8192;

/** What /proc/self/pagemap tells of this process's pages. */
export interface PageMap extends Disposable {
  /** Calls `visit` with the offset of each page of a mapping that is in memory or swapped out. */
  forEachPage(
    address: bigint,
    length: number,
    visit: (offset: number, isCopied: boolean) => void,
  ): void;
}

/** `undefined` where the kernel or a sandbox does not let this process look. */
export function openPageMap(): PageMap | undefined {
  let fd: number;
  try {
    fd = openSync("/proc/self/pagemap", "r");
  } catch {
    return undefined;
  }
  const entries = Buffer.alloc(BATCH * ENTRY);
  return {
    forEachPage(address, length, visit) {
      const first = Number(address / BigInt(PAGE));
      for (let page = 0; page < length / PAGE; page += BATCH) {
        const wanted = Math.min(BATCH, length / PAGE - page) * ENTRY;
        const read = readSync(fd, entries, 0, wanted, (first + page) * ENTRY);
        for (let at = 0; at < read; at += ENTRY) {
          const flags = entries.readUInt32LE(at + 4);
          if ((flags & PRESENT_OR_SWAPPED) === 0) continue;
          visit((page + at / ENTRY) * PAGE, (flags & FILE_OR_SHARED) === 0);
        }
      }
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}
