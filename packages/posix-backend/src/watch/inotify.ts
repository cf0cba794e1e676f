/** inotify(7): its calls, and the parser of what it reports. */
import { decodeName } from "@supermachine/fuse-protocol";
import { lastErrno, lazyFunction } from "@supermachine-internal/libc";
import { defineStruct } from "@supermachine-internal/struct";

export const IN_MODIFY = 0x0000_0002;
export const IN_ATTRIB = 0x0000_0004;
export const IN_MOVED_FROM = 0x0000_0040;
export const IN_MOVED_TO = 0x0000_0080;
export const IN_CREATE = 0x0000_0100;
export const IN_DELETE = 0x0000_0200;
export const IN_Q_OVERFLOW = 0x0000_4000;
export const IN_IGNORED = 0x0000_8000;
export const IN_ONLYDIR = 0x0100_0000;

/** Events that say that a name stands for something else now. */
export const NAME_EVENTS = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO;
/** What is watched for in each directory. */
export const WATCHED_EVENTS = NAME_EVENTS | IN_MODIFY | IN_ATTRIB;

const IN_CLOEXEC = 0o2000000;
const IN_NONBLOCK = 0o4000;

/** `struct inotify_event` up to its name, which NULs fill up to `len` bytes. */
export const inotifyEventStruct = defineStruct("inotify_event", 16, {
  wd: "s32",
  mask: "u32",
  cookie: "u32",
  len: "u32",
});

const native = {
  init: lazyFunction<(flags: number) => number>("int inotify_init1(int flags)"),
  addWatch: lazyFunction<(fd: number, path: string, mask: number) => number>(
    "int inotify_add_watch(int fd, const char *pathname, unsigned int mask)",
  ),
  removeWatch: lazyFunction<(fd: number, wd: number) => number>(
    "int inotify_rm_watch(int fd, int wd)",
  ),
  read: lazyFunction<(fd: number, to: Uint8Array, length: number) => number>(
    "intptr_t read(int fd, void *buf, size_t count)",
  ),
};

function outcome(result: number): number {
  return result === -1 ? -lastErrno() : result;
}

/** A new instance, which reads without waiting; or a negated errno. */
export function inotifyInit(): number {
  return outcome(native.init(IN_CLOEXEC | IN_NONBLOCK));
}

/** Watches the directory that `target` holds, whatever its name is now; its wd, or a negated errno. */
export function watchDirectory(fd: number, target: number, mask: number): number {
  return outcome(native.addWatch(fd, `/proc/self/fd/${target}`, mask | IN_ONLYDIR));
}

export function removeWatch(fd: number, wd: number): number {
  return outcome(native.removeWatch(fd, wd));
}

/** Bytes of whole events, or a negated errno: EAGAIN when there are none. */
export function readEvents(fd: number, to: Uint8Array): number {
  return outcome(native.read(fd, to, to.length));
}

const at = inotifyEventStruct.offsets;

/**
 * Calls `onEvent` for each event in `bytes`; `name` is empty for those of the watched directory itself.
 * False when the bytes end inside an event, which read(2) never lets happen: what follows is lost.
 */
export function parseEvents(
  bytes: Uint8Array,
  onEvent: (wd: number, mask: number, name: string) => void,
): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let start = 0;
  while (start < bytes.length) {
    const nameAt = start + inotifyEventStruct.size;
    if (nameAt > bytes.length) return false;
    const end = nameAt + view.getUint32(start + at.len, true);
    if (end > bytes.length) return false;
    const terminator = bytes.subarray(nameAt, end).indexOf(0);
    const name = decodeName(bytes, nameAt, terminator < 0 ? end : nameAt + terminator);
    onEvent(view.getInt32(start + at.wd, true), view.getUint32(start + at.mask, true), name);
    start = end;
  }
  return true;
}
