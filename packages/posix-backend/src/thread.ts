/**
 * The backend of one of several threads: what `SharedPosixShare.module` names.
 *
 * @packageDocumentation
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FsBackend } from "@supermachine/fuse-server";
import { PosixBackendError } from "./error.js";
import { PosixBackend } from "./posix-backend.js";
import type { SharedPosixShareData } from "./shared-posix-share.js";

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

/** A backend over an empty directory of its own, to practise on before one serves; gone when disposed. */
export function createPracticeBackend(): FsBackend & Disposable {
  const memory = "/dev/shm";
  const root = mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), "supermachine-practice-"));
  try {
    return new PracticeBackend(root);
  } catch (error) {
    rmSync(root, { recursive: true, force: true });
    throw error;
  }
}

class PracticeBackend extends PosixBackend {
  readonly #root: string;

  constructor(root: string) {
    super(root);
    this.#root = root;
  }

  override close(): void {
    super.close();
    rmSync(this.#root, { recursive: true, force: true });
  }
}
