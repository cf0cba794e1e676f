import {
  EINVAL,
  ENAMETOOLONG,
  ENOENT,
  ERANGE,
  NAME_MAX,
  nameLength,
  writeName,
} from "@supermachine/fuse-protocol";

const SLASH = 0x2f;

/**
 * Puts one name of the guest into the form that C takes, and is the gate that every such name passes:
 * what comes out is a single path component other than `.` and `..`, so a lookup of it below a directory
 * handle, symbolic links not followed, cannot leave that directory.
 */
export class NameBuffer {
  /** The name, ended with a NUL. */
  readonly bytes = Buffer.alloc(NAME_MAX + 1);

  /** Sets `bytes` to a file name; returns 0, or a negated errno for what is not one. */
  set(name: string): number {
    if (name.length === 0) return -ENOENT;
    if (name === "." || name === "..") return -EINVAL;
    return this.#write(name, SLASH);
  }

  /** Sets `bytes` to the file name `from[start, end)`, which is neither `.` nor `..`; as {@link set}. */
  setBytes(from: Uint8Array, start: number, end: number): number {
    const length = end - start;
    if (length > NAME_MAX) return -ENAMETOOLONG;
    for (let i = 0; i < length; i++) this.bytes[i] = from[start + i] as number;
    return this.#finish(length, SLASH);
  }

  /** Sets `bytes` to the name of an extended attribute, which may hold slashes. */
  setAttribute(name: string): number {
    const result = this.#write(name, 0);
    return result === -ENAMETOOLONG ? -ERANGE : result;
  }

  /** @param forbidden - A byte that must not occur, beside NUL. */
  #write(name: string, forbidden: number): number {
    if (name.length > NAME_MAX || nameLength(name) > NAME_MAX) return -ENAMETOOLONG;
    return this.#finish(writeName(name, this.bytes), forbidden);
  }

  #finish(length: number, forbidden: number): number {
    for (let i = 0; i < length; i++) {
      const byte = this.bytes[i];
      if (byte === forbidden || byte === 0) return -EINVAL;
    }
    this.bytes[length] = 0;
    return 0;
  }
}
