import { constants } from "node:os";
import koffi from "koffi";

/** The C library's `errno` of the last call; read it at once, before any other native call. */
export function lastErrno(): number {
  return koffi.errno();
}

const names = new Map<number, string>();
for (const [name, value] of Object.entries(constants.errno)) {
  // EWOULDBLOCK and EAGAIN, EOPNOTSUPP and ENOTSUP share numbers: the first name listed wins.
  if (!names.has(value)) names.set(value, name);
}

/** The symbolic name of an errno of this platform, such as `ENOENT`. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}

/** A system call that failed: which, on what, and the errno it gave. */
export class SystemCallError extends Error {
  override readonly name = "SystemCallError";
  /** The symbolic errno, such as `ENOENT`. */
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;

  constructor(syscall: string, errno: number, detail?: string) {
    super(`${syscall}${detail === undefined ? "" : ` ${detail}`}: ${errnoName(errno)}`);
    this.code = errnoName(errno);
    this.errno = errno;
    this.syscall = syscall;
  }
}

/** Returns `result`, or throws a {@link SystemCallError} with the current errno when it is -1. */
export function check(result: number, syscall: string, detail?: string): number {
  if (result === -1) throw new SystemCallError(syscall, lastErrno(), detail);
  return result;
}
