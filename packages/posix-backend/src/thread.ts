/**
 * The backend of one of several threads: what `SharedPosixShare.module` names.
 *
 * @packageDocumentation
 */
import type { FsBackend } from "@supermachine/fuse-server";
import { PosixBackendError } from "./error.js";
import { PosixBackend } from "./posix-backend.js";
import type { SharedPosixShareData } from "./shared-posix-share.js";

export { createPracticeBackend } from "./practice-backend.js";

/**
 * @param data - Of a `SharedPosixShare` of this process.
 * @throws `PosixBackendError` with `ERR_POSIX_THREAD` for anything else, and when there are as many threads
 * already as that was made for.
 */
export function createBackend(data: unknown): FsBackend & Disposable {
  const { memory, options, watcher } = (data ?? {}) as Partial<SharedPosixShareData>;
  if (memory instanceof SharedArrayBuffer) return new PosixBackend(memory, options, watcher);
  throw new PosixBackendError(
    "ERR_POSIX_THREAD",
    "createBackend was not given the data of a SharedPosixShare",
  );
}
