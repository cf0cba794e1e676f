import { randomBytes } from "node:crypto";
import { accessSync, constants, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Memory of the host that has file names, on Linux. */
const SHARED_MEMORY = "/dev/shm";

/** Where the memory of a machine is while copies of it are started: they keep what they map of it. */
export class ForkDirectory implements Disposable {
  readonly path: string;

  constructor(parent = defaultParent()) {
    this.path = join(parent, `supermachine-fork-${randomBytes(8).toString("hex")}`);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
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
