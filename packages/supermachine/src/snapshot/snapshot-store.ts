import { randomBytes } from "node:crypto";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { defaultStoreDirectory } from "@supermachine/oci/image-store";
import { SupermachineError } from "../errors.js";
import { openSavedMachine } from "./saved-machine.js";

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;
/** What is being made or removed has one of these: it is no snapshot. */
const UNFINISHED = /\.tmp$/;

/** Nothing takes as long to be written. */
const ABANDONED_AFTER_MS = 3_600_000;

/** What the store knows of a snapshot. */
export interface StoredSnapshot {
  readonly name: string;
  readonly directory: string;
  /** Name of the image, or what is wrong with the snapshot. */
  readonly image: string;
  readonly memoryMiB: number;
  readonly cpus: number;
  /** Bytes on disk; files that it shares with others count for each. */
  readonly size: number;
  readonly createdAt: Date;
}

/** Snapshots by name, each a directory below one: the user's own, which nobody else can change. */
export class SnapshotStore {
  readonly directory: string;

  /** Default: `snapshots` beside the user's images. */
  constructor(directory = join(defaultStoreDirectory(), "snapshots")) {
    this.directory = directory;
  }

  /**
   * Where a snapshot of this name is to be made.
   *
   * @throws {@link SupermachineError} ERR_OPTION
   */
  async pathFor(name: string): Promise<string> {
    const path = this.#path(name);
    await mkdir(this.directory, { recursive: true, mode: 0o700 });
    await this.#removeAbandoned();
    return path;
  }

  /** @throws {@link SupermachineError} ERR_SNAPSHOT_NOT_FOUND, ERR_OPTION. */
  async find(name: string): Promise<string> {
    const path = this.#path(name);
    if ((await stat(path).catch(() => undefined))?.isDirectory() === true) return path;
    throw new SupermachineError(
      "ERR_SNAPSHOT_NOT_FOUND",
      `there is no snapshot ${name}: supermachine snapshot ls lists those there are`,
    );
  }

  /** By name. */
  async list(): Promise<StoredSnapshot[]> {
    const names = await readdir(this.directory).catch(() => []);
    const valid = names.filter((name) => NAME.test(name) && !UNFINISHED.test(name)).sort();
    return Promise.all(valid.map((name) => this.#describe(name)));
  }

  /** Machines that went on from it are not affected. @throws {@link SupermachineError} as {@link find}. */
  async remove(name: string): Promise<void> {
    const path = await this.find(name);
    // First the name, so that nobody finds a half of it.
    const doomed = `${path}.${randomBytes(6).toString("hex")}.tmp`;
    await rename(path, doomed);
    await rm(doomed, { recursive: true, force: true });
  }

  #path(name: string): string {
    if (NAME.test(name) && !UNFINISHED.test(name)) return join(this.directory, name);
    throw new SupermachineError(
      "ERR_OPTION",
      `the name ${JSON.stringify(name)}: give up to 63 letters, digits, "_", "." and "-", the first a letter or digit`,
    );
  }

  /** What a killed process was writing or removing. */
  async #removeAbandoned(): Promise<void> {
    const names = (await readdir(this.directory)).filter((name) => UNFINISHED.test(name));
    for (const name of names) {
      const path = join(this.directory, name);
      const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
      if (Date.now() - mtimeMs < ABANDONED_AFTER_MS) continue;
      await rm(path, { recursive: true, force: true });
    }
  }

  async #describe(name: string): Promise<StoredSnapshot> {
    const directory = join(this.directory, name);
    const { birthtime } = await stat(directory);
    const files = await readdir(directory);
    const sizes = files.map(async (file) => (await stat(join(directory, file))).blocks * 512);
    const size = (await Promise.all(sizes)).reduce((total, bytes) => total + bytes, 0);
    const base = { name, directory, size, createdAt: birthtime };
    try {
      const { memoryMiB, cpus, config } = await openSavedMachine(directory);
      return { ...base, memoryMiB, cpus, image: config.provenance.image.name };
    } catch (error) {
      const code = error instanceof SupermachineError ? error.code : String(error);
      return { ...base, memoryMiB: 0, cpus: 0, image: `(${code})` };
    }
  }
}
