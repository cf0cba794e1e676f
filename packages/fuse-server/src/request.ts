import type { EntryReply } from "./reply.js";

/**
 * What a backend reads. As with replies, these objects are used again for later requests; an
 * asynchronous backend may use them until its promise settles.
 */

/** Who asks, and for what. */
export interface RequestContext {
  /** The effective ids of the calling thread, as the kernel of the client sees them. */
  readonly uid: number;
  readonly gid: number;
  /** Thread id of the caller; 0 when it is outside the client's pid namespace or unknown. */
  readonly pid: number;
  /** The id of this request on its connection. */
  readonly unique: bigint;
  /**
   * The owner of POSIX locks in requests that carry one (read, write, flush, release, setattr), else 0.
   */
  readonly lockOwner: bigint;
  /** Aborted when the client interrupts the request or the session closes. Made on first use. */
  readonly signal: AbortSignal;
  /**
   * The supplementary group to use for the new node (`FUSE_EXT_GROUPS`), beside `gid`: sent by create,
   * mkdir, mknod, symlink and tmpfile when the parent has the set-group-id bit. Otherwise undefined.
   */
  readonly supplementaryGroup: number | undefined;
}

/** A change of attributes. Only fields whose bit is set in `valid` count. */
export interface SetattrRequest {
  /** `FATTR_...` bits. */
  readonly valid: number;
  /** With `FATTR_SIZE`: bytes. */
  readonly size: number;
  /** With `FATTR_MODE`: permission bits (a file type in it must be ignored). */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Seconds since the epoch, may be negative. With `FATTR_ATIME_NOW` use the present instead. */
  readonly atime: number;
  readonly mtime: number;
  readonly ctime: number;
  readonly atimensec: number;
  readonly mtimensec: number;
  readonly ctimensec: number;
}

/** A lock as fcntl(2) and flock(2) ask for it. */
export interface LockRequest {
  /** Identifies the owner: 64 opaque bits. */
  readonly owner: bigint;
  /** First byte. */
  readonly start: number;
  /** Last byte, inclusive; `Infinity` is the end of the file, wherever it is. */
  readonly end: number;
  /** `F_RDLCK`, `F_WRLCK` or `F_UNLCK`. */
  readonly type: number;
  readonly pid: number;
}

/** What the client and the session agreed on. */
export interface SessionInfo {
  /** The minor protocol version in use; the major one is 7. */
  readonly minor: number;
  /** The `FUSE_...` INIT flags in use. */
  readonly flags: bigint;
  /** The longest write in bytes. */
  readonly maxWrite: number;
  /** Bytes of read-ahead. */
  readonly maxReadahead: number;
  /**
   * The client is the kernel of this host, through /dev/fuse: it has asked for the privileges that an
   * operation takes on this host, which no other client can be trusted to do.
   */
  readonly hostKernel: boolean;
}

/** Takes the records of a directory listing. */
export interface DirectorySink {
  /**
   * Adds one record; false when it does not fit, and then the listing ends and the record counts as
   * not delivered.
   *
   * @param ino - Inode number shown to the caller.
   * @param type - `DT_...`.
   * @param offset - Where the next `readdir` continues after this record; a cookie other than 0.
   */
  add(name: string, ino: number, type: number, offset: number): boolean;
  /**
   * As {@link add}, for a name that is at hand as `bytes[start, end)`: saves decoding it. The session's own
   * sinks have it.
   */
  addBytes?(
    bytes: Uint8Array,
    start: number,
    end: number,
    ino: number,
    type: number,
    offset: number,
  ): boolean;
}

/** Takes the records of a directory listing with their attributes. */
export interface DirectoryPlusSink {
  /**
   * Filled in by the backend before each `add` and cleared after it. Leave `nodeid` 0 for `.`, `..`
   * and names to be looked up later; `attr.ino` and the type bits of `attr.mode` count all the same.
   */
  readonly entry: EntryReply;
  /**
   * Adds one record; false when it does not fit: the listing ends, the record counts as not delivered,
   * and so adds nothing to the lookup count.
   */
  add(name: string, offset: number): boolean;
  /** As that of {@link DirectorySink}. */
  addBytes?(bytes: Uint8Array, start: number, end: number, offset: number): boolean;
}
