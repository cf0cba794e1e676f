import { SupermachineError } from "../errors.js";
import type { MachineConfig, Provenance, Share } from "../machine/config.js";

/**
 * The configuration that a snapshot of this package keeps as its metadata, without the machine's own command:
 * that runs already. Only what is known is taken over, for a snapshot may come from anywhere.
 *
 * @throws {@link SupermachineError} ERR_SNAPSHOT_FORMAT for a snapshot of another program's machine,
 *   ERR_SNAPSHOT_CORRUPT for a value that cannot be.
 */
export function parseSavedConfig(snapshot: string, metadata: string): MachineConfig {
  const root = parseJson(metadata);
  if (!isRecord(root) || !isRecord(root["provenance"])) {
    throw new SupermachineError(
      "ERR_SNAPSHOT_FORMAT",
      `${snapshot} is not a snapshot of a machine of supermachine`,
    );
  }
  const read = new Reader(snapshot, root);
  return {
    memoryMiB: read.number("memoryMiB"),
    cpus: read.number("cpus"),
    kernel: read.text("kernel"),
    initrd: read.text("initrd"),
    commandLine: read.text("commandLine"),
    rootfs: read.text("rootfs"),
    hostname: read.text("hostname"),
    bootTimeoutMs: read.number("bootTimeoutMs"),
    provenance: provenance(read.record("provenance")),
    shares: read.records("shares").map(share),
  };
}

function provenance(read: Reader): Provenance {
  const image = read.record("image");
  return {
    image: { name: image.text("name"), digest: image.text("digest") },
    guest: read.text("guest"),
    env: read.texts("env"),
  };
}

function share(read: Reader): Share {
  return {
    tag: read.text("tag"),
    host: read.text("host"),
    readOnly: read.boolean("readOnly"),
    symlinks: read.oneOf("symlinks", ["deny", "opaque", "follow"]),
    cache: read.oneOf("cache", ["none", "auto", "metadata", "always"]),
    dax: read.oneOf("dax", ["never", "inode", "always"]),
    daxWindowMiB: read.number("daxWindowMiB"),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Most of any number in a configuration: a timeout of 24 days in milliseconds. */
const MAX_NUMBER = 2 ** 31 - 1;
const MAX_SHARES = 64;

/** Reads members of a record, each of which must be of its kind. */
class Reader {
  readonly #snapshot: string;
  readonly #record: Record<string, unknown>;

  constructor(snapshot: string, record: Record<string, unknown>) {
    this.#snapshot = snapshot;
    this.#record = record;
  }

  text(name: string): string {
    const value = this.#record[name];
    if (typeof value === "string") return value;
    throw this.#wrong(name);
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T {
    const found = allowed.find((each) => each === this.#record[name]);
    if (found === undefined) throw this.#wrong(name);
    return found;
  }

  /** A whole number above 0. */
  number(name: string): number {
    const value = this.#record[name];
    if (typeof value !== "number" || !Number.isInteger(value)) throw this.#wrong(name);
    if (value < 1 || value > MAX_NUMBER) throw this.#wrong(name);
    return value;
  }

  boolean(name: string): boolean {
    const value = this.#record[name];
    if (typeof value === "boolean") return value;
    throw this.#wrong(name);
  }

  record(name: string): Reader {
    const value = this.#record[name];
    if (isRecord(value)) return new Reader(this.#snapshot, value);
    throw this.#wrong(name);
  }

  records(name: string): Reader[] {
    const value = this.#record[name];
    if (!Array.isArray(value) || value.length > MAX_SHARES) throw this.#wrong(name);
    return value.map((item) => {
      if (isRecord(item)) return new Reader(this.#snapshot, item);
      throw this.#wrong(name);
    });
  }

  texts(name: string): Record<string, string> {
    const value = this.#record[name];
    if (!isRecord(value)) throw this.#wrong(name);
    for (const text of Object.values(value)) if (typeof text !== "string") throw this.#wrong(name);
    return value as Record<string, string>;
  }

  #wrong(name: string): SupermachineError {
    return new SupermachineError(
      "ERR_SNAPSHOT_CORRUPT",
      `the snapshot ${this.#snapshot} is damaged: \`${name}\` of its machine is not what it must be; make it anew`,
    );
  }
}
