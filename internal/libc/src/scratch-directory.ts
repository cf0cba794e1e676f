import { randomBytes } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { lastErrno } from "./errno.js";
import { lazyFunction } from "./native.js";

const flockNative = lazyFunction<(fd: number, operation: number) => number>(
  "int flock(int fd, int operation)",
);
const LOCK_EX = 2;
const LOCK_NB = 4;
const EWOULDBLOCK = process.platform === "darwin" ? 35 : 11;

const RANDOM_NAME = /^[0-9a-f]{12}$/;

const held = new Set<ScratchDirectory>();
let watchesExit = false;

/**
 * A directory that is there while its process works in it. The process holds a lock on it (flock(2)), which
 * ends with the process, however that ends: thus the next one can tell what a killed one has left, and removes
 * it. That holds between containers too, where process ids tell nothing.
 */
export class ScratchDirectory implements Disposable {
  readonly path: string;
  readonly #fd: number;
  #isHeld = true;

  /**
   * Makes `prefix`, 12 hexadecimal digits and `suffix`, for this user alone, after what others have left by
   * such names has been removed.
   *
   * @throws NodeJS.ErrnoException of mkdir(2) or open(2).
   */
  constructor(prefix: string, suffix = "") {
    ScratchDirectory.removeAbandoned(prefix, suffix);
    const { path, fd } = make(prefix, suffix);
    this.path = path;
    this.#fd = fd;
    held.add(this);
    if (watchesExit) return;
    watchesExit = true;
    process.on("exit", () => {
      for (const directory of held) directory[Symbol.dispose]();
    });
  }

  /** Removes what killed processes have left of directories of such names. What cannot be removed stays. */
  static removeAbandoned(prefix: string, suffix = ""): void {
    // `prefix` may end in a separator, and then all names below are meant.
    const parent = dirname(`${prefix}x`);
    for (const name of namesIn(parent)) {
      const path = join(parent, name);
      if (!path.startsWith(prefix) || !path.endsWith(suffix)) continue;
      if (!RANDOM_NAME.test(path.slice(prefix.length, path.length - suffix.length))) continue;
      try {
        removeUnlessHeld(path);
      } catch {
        // Another user's, or another process was faster.
      }
    }
  }

  /** Leaves the directory, which may have another name by now, as it is: it is scratch no more. */
  keep(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    held.delete(this);
    closeSync(this.#fd);
  }

  /** Removes it with all in it, unless it was kept. Idempotent. */
  [Symbol.dispose](): void {
    if (!this.#isHeld) return;
    try {
      rmSync(this.path, { recursive: true, force: true });
    } finally {
      this.keep();
    }
  }
}

function make(prefix: string, suffix: string): { path: string; fd: number } {
  for (;;) {
    const path = `${prefix}${randomBytes(6).toString("hex")}${suffix}`;
    mkdirSync(path, { mode: 0o700 });
    try {
      const fd = openSync(path, "r");
      // Where the file system has no locks, nobody can take it for abandoned either.
      const isTaken = flockNative(fd, LOCK_EX | LOCK_NB) === -1 && lastErrno() === EWOULDBLOCK;
      // Another process may have found it before it was locked, and have removed it or be about to.
      if (!isTaken && existsSync(path)) return { path, fd };
      closeSync(fd);
    } catch (error) {
      rmSync(path, { recursive: true, force: true });
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
}

function removeUnlessHeld(path: string): void {
  const fd = openSync(path, "r");
  try {
    if (flockNative(fd, LOCK_EX | LOCK_NB) === 0) rmSync(path, { recursive: true, force: true });
  } finally {
    closeSync(fd);
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
