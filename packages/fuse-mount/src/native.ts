import {
  check,
  cLibrary,
  lastErrno,
  lazyFunction,
  SystemCallError,
} from "@supermachine-internal/libc";

// mount(2) and umount2(2)
export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MNT_FORCE = 1;
export const MNT_DETACH = 2;

/** `read(2)`: bytes, or -1. */
export const read = lazyFunction<(fd: number, buffer: Uint8Array, length: number) => number>(
  "intptr_t read(int fd, void *buf, size_t count)",
);

/** `write(2)`: bytes, or -1. */
export const write = lazyFunction<(fd: number, buffer: Uint8Array, length: number) => number>(
  "intptr_t write(int fd, const void *buf, size_t count)",
);

/** `ioctl(2)` with a pointer: the result, or -1. */
export const ioctl = lazyFunction<
  (fd: number, request: number, type: "void *", argument: Uint8Array) => number
>("int ioctl(int fd, unsigned long request, ...)");

/** Lets another thread have this CPU, if one waits for it. */
export const yieldProcessor = lazyFunction<() => number>("int sched_yield(void)");

const dup2Native = lazyFunction<(from: number, to: number) => number>("int dup2(int from, int to)");

/** Makes a descriptor stand for another file, without its number ever being free. */
export function replaceDescriptor(file: number, fd: number): void {
  check(dup2Native(file, fd), "dup2", `fd ${fd}`);
}

const umount2Native = lazyFunction<(target: string, flags: number) => number>(
  "int umount2(const char *target, int flags)",
);

interface AsyncFunction {
  async(...argumentsAndCallback: unknown[]): void;
}

/**
 * Calls a function on a thread of the pool. Mounting, unmounting and invalidating resolve paths and
 * wait for pages, which may need answers from a file system that this very thread serves.
 */
function callAside(
  name: string,
  prototype: string,
  target: string,
  values: unknown[],
): Promise<void> {
  const native = cLibrary().func(prototype) as unknown as AsyncFunction;
  return new Promise((resolve, reject) => {
    native.async(...values, (error: unknown, result: number) => {
      // koffi reports the errno of the call in this callback.
      if (error !== null && error !== undefined) reject(error as Error);
      else if (result === -1) reject(new SystemCallError(name, lastErrno(), target));
      else resolve();
    });
  });
}

/** `write(2)` on a thread of the pool. Throws {@link SystemCallError}. */
export function writeAside(fd: number, bytes: Uint8Array): Promise<void> {
  const prototype = "intptr_t write(int fd, const void *buf, size_t count)";
  return callAside("write", prototype, "to /dev/fuse", [fd, bytes, bytes.length]);
}

/** `mount(2)`. Throws {@link SystemCallError}. */
export function mountFileSystem(
  source: string,
  target: string,
  type: string,
  flags: number,
  data: string,
): Promise<void> {
  const prototype =
    "int mount(const char *source, const char *target, const char *filesystemtype, unsigned long mountflags, const char *data)";
  return callAside("mount", prototype, target, [source, target, type, flags, data]);
}

/** `umount2(2)`. Throws {@link SystemCallError}. */
export function unmount(target: string, flags: number): Promise<void> {
  return callAside("umount2", "int umount2(const char *target, int flags)", target, [
    target,
    flags,
  ]);
}

/** For the end of the process. With `MNT_FORCE` the kernel does not wait for the server any more. */
export function detachNow(target: string): void {
  umount2Native(target, MNT_FORCE | MNT_DETACH);
}
