import { randomBytes } from "node:crypto";
import { accessSync, constants, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Memory of the host that has file names, on Linux. */
const SHARED_MEMORY = "/dev/shm";
const PREFIX = "supermachine-fork-";

/**
 * Where the memory of a machine is while copies of it are started: they keep what they map of it. Its name
 * tells which process it belongs to, so that the next one removes what a killed one has left.
 */
export class ForkDirectory implements Disposable {
  readonly path: string;

  constructor(parent = defaultParent()) {
    removeAbandoned(parent);
    this.path = join(parent, `${PREFIX}${process.pid}-${randomBytes(8).toString("hex")}`);
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

/** Also what was being written: that has a longer name. */
function removeAbandoned(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.startsWith(PREFIX)) continue;
    const owner = Number.parseInt(name.slice(PREFIX.length), 10);
    if (Number.isNaN(owner) || isRunning(owner)) continue;
    try {
      rmSync(join(parent, name), { recursive: true, force: true });
    } catch {
      // Another user's, or another process was faster.
    }
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
