import { closeSync, linkSync, openSync, statSync, writeFileSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { ScratchDirectory } from "@supermachine-internal/libc";
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
 * nothing. Disposing one that is not published leaves nothing behind; what a killed process has left of one, the
 * next of the same target removes.
 */
export class SnapshotDraft implements Disposable {
  readonly target: string;
  readonly #scratch: ScratchDirectory;
  readonly #files: string[] = [];

  /** @throws VmmError `ERR_VMM_SNAPSHOT_WRITE` also when `target` exists. */
  constructor(target: string) {
    this.target = resolve(target);
    if (statSync(this.target, { throwIfNoEntry: false }) !== undefined) {
      throw new VmmError(
        "ERR_VMM_SNAPSHOT_WRITE",
        `the snapshot ${this.target} exists: remove it first, or give another name`,
      );
    }
    this.#scratch = step(this.target, () => new ScratchDirectory(`${this.target}.`, ".tmp"));
  }

  /** Makes a file and lets `write` fill it. */
  write<T>(name: string, write: (fd: number) => T): T {
    return step(this.target, () => {
      const path = join(this.#scratch.path, name);
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
      linkSync(path, join(this.#scratch.path, name));
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
      for (const path of [...this.#files, this.#scratch.path]) await flush(path);
      await rename(this.#scratch.path, this.target);
      this.#scratch.keep();
      await flush(dirname(this.target));
    } catch (cause) {
      throw writeError(this.target, cause);
    }
  }

  [Symbol.dispose](): void {
    this.#scratch[Symbol.dispose]();
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
