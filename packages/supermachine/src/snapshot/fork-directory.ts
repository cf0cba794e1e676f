import { accessSync, constants } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ScratchDirectory } from "@supermachine-internal/libc";

/** Memory of the host that has file names, on Linux. */
const SHARED_MEMORY = "/dev/shm";
const PREFIX = "supermachine-fork-";

/**
 * Where the memory of a machine is while copies of it are started: they keep what they map of it. What a
 * killed process has left of one is removed by the next, and by machines that end.
 */
export class ForkDirectory implements Disposable {
  /** Of the snapshot, which is still to be made. */
  readonly path: string;
  readonly #scratch: ScratchDirectory;

  constructor(parent = defaultParent()) {
    this.#scratch = new ScratchDirectory(join(parent, PREFIX));
    this.path = join(this.#scratch.path, "snapshot");
  }

  static removeAbandoned(parent = defaultParent()): void {
    ScratchDirectory.removeAbandoned(join(parent, PREFIX));
  }

  [Symbol.dispose](): void {
    this.#scratch[Symbol.dispose]();
  }
}

function defaultParent(): string {
  try {
    accessSync(SHARED_MEMORY, constants.W_OK);
    return SHARED_MEMORY;
  } catch {
    return tmpdir();
  }
}
