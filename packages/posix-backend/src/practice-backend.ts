import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FsBackend } from "@supermachine/fuse-server";
import { ScratchDirectory } from "@supermachine-internal/libc";
import { PosixBackend } from "./posix-backend.js";

/** Memory of the host that has file names, on Linux. */
const SHARED_MEMORY = "/dev/shm";

/**
 * A backend over an empty directory of its own, to practise on before one serves. The directory is gone when the
 * backend is disposed, and with the next such backend if the process was killed before.
 */
export function createPracticeBackend(): FsBackend & Disposable {
  const parent = existsSync(SHARED_MEMORY) ? SHARED_MEMORY : tmpdir();
  const root = new ScratchDirectory(join(parent, "supermachine-practice-"));
  try {
    return new PracticeBackend(root);
  } catch (error) {
    root[Symbol.dispose]();
    throw error;
  }
}

class PracticeBackend extends PosixBackend {
  readonly #root: ScratchDirectory;

  /** Takes over `root`. */
  constructor(root: ScratchDirectory) {
    super(root.path);
    this.#root = root;
  }

  override close(): void {
    super.close();
    this.#root[Symbol.dispose]();
  }
}
