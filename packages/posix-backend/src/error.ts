/**
 * The base class of the errors this package throws: making a backend can fail, operations never throw
 * (they return a negated errno).
 *
 * `code` is stable:
 * - `ERR_POSIX_PLATFORM`: neither Linux 5.8 or later with glibc nor macOS, on a 64-bit machine; or several threads
 *   elsewhere than on Linux;
 * - `ERR_POSIX_PROC`: /proc is not mounted, without which handles cannot be reopened;
 * - `ERR_POSIX_ROOT`: the root cannot be opened as a directory;
 * - `ERR_POSIX_FILE_HANDLES`: `inodeFileHandles` is `mandatory`, and they cannot be used;
 * - `ERR_POSIX_THREAD`: a backend for a thread was made of something else than a `SharedPosixShare`, or
 *   for more threads than it is for;
 * - `ERR_POSIX_NODES`: saved nodes are malformed, of another version or of another directory;
 * - `ERR_POSIX_OPTION`: an option is out of range;
 * - `ERR_POSIX_WATCH`: `watch` needs inotify of Linux, and the user may have no instance left.
 */
export class PosixBackendError extends Error {
  override readonly name = "PosixBackendError";
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
