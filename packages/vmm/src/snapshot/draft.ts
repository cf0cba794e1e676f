import { randomBytes } from "node:crypto";
import { closeSync, linkSync, mkdirSync, openSync, rmSync, statSync, writeFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { VmmError } from "../errors.js";

const outOfSpace = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** Runs a step of making a snapshot; what the file system refuses becomes an error of this package. */
function step<T>(target: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    throw writeError(target, cause);
  }
}

function writeError(target: string, cause: unknown): VmmError {
  if (cause instanceof VmmError) return cause;
  const { code = "unknown error" } = cause as NodeJS.ErrnoException;
  if (outOfSpace.has(code)) {
    return new VmmError(
      "ERR_VMM_SNAPSHOT_SPACE",
      `there is no room for the snapshot ${target} (${code}): free some, or save elsewhere`,
      { cause },
    );
  }
  return new VmmError("ERR_VMM_SNAPSHOT_WRITE", `the snapshot ${target} cannot be made: ${code}`, {
    cause,
  });
}

/**
 * A snapshot being made, in a directory beside the one it becomes: who looks there sees all of it or
 * nothing. Disposing one that is not published leaves nothing behind.
 */
export class SnapshotDraft implements Disposable {
  readonly target: string;
  readonly #directory: string;
  readonly #files: string[] = [];
  #published = false;

  /** @throws VmmError `ERR_VMM_SNAPSHOT_WRITE` also when `target` exists. */
  constructor(target: string) {
    this.target = resolve(target);
    this.#directory = `${this.target}.${randomBytes(6).toString("hex")}.tmp`;
    if (statSync(this.target, { throwIfNoEntry: false }) !== undefined) {
      throw new VmmError(
        "ERR_VMM_SNAPSHOT_WRITE",
        `the snapshot ${this.target} exists: remove it first, or give another name`,
      );
    }
    step(this.target, () => mkdirSync(this.#directory, { mode: 0o700 }));
  }

  /** Makes a file and lets `write` fill it. */
  write<T>(name: string, write: (fd: number) => T): T {
    return step(this.target, () => {
      const path = join(this.#directory, name);
      const fd = openSync(path, "wx", 0o600);
      try {
        this.#files.push(path);
        return write(fd);
      } finally {
        closeSync(fd);
      }
    });
  }

  writeBytes(name: string, bytes: Uint8Array): void {
    this.write(name, (fd) => writeFileSync(fd, bytes));
  }

  /** Shares a file of another snapshot, which both then have. */
  link(path: string, name: string): void {
    try {
      linkSync(path, join(this.#directory, name));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "EXDEV") throw writeError(this.target, cause);
      throw new VmmError(
        "ERR_VMM_SNAPSHOT_BASE",
        `the snapshot ${this.target} is to share ${path}, which is on another file system: save beside its base, or without one`,
        { cause },
      );
    }
  }

  /** Gives the snapshot its name, when all of it is on disk. */
  async publish(): Promise<void> {
    try {
      for (const path of [...this.#files, this.#directory]) await flush(path);
      await rename(this.#directory, this.target);
      this.#published = true;
      await flush(dirname(this.target));
    } catch (cause) {
      throw writeError(this.target, cause);
    }
  }

  [Symbol.dispose](): void {
    if (!this.#published) rmSync(this.#directory, { recursive: true, force: true });
  }
}

async function flush(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
