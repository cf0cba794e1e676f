/**
 * What a backend fills in. Each object belongs to one request slot and is used again and again: a
 * backend writes to it until its result (or promise) is delivered and never keeps it.
 */

/** Attributes of a node, named as in `struct fuse_attr`. All zero when handed to the backend. */
export class Attr {
  ino = 0;
  /** Bytes. */
  size = 0;
  /** Units of 512 bytes. */
  blocks = 0;
  /** Seconds since the epoch; may be negative. */
  atime = 0;
  mtime = 0;
  ctime = 0;
  /** 0..999_999_999. */
  atimensec = 0;
  mtimensec = 0;
  ctimensec = 0;
  /** File type and permission bits. */
  mode = 0;
  nlink = 0;
  uid = 0;
  gid = 0;
  /** Device number in the kernel's 32-bit encoding: `(minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)`. */
  rdev = 0;
  /** Preferred block size in bytes. */
  blksize = 0;
  /** `FUSE_ATTR_...`. */
  flags = 0;

  /** Sets every field to zero. */
  clear(): void {
    this.ino = 0;
    this.size = 0;
    this.blocks = 0;
    this.atime = 0;
    this.mtime = 0;
    this.ctime = 0;
    this.atimensec = 0;
    this.mtimensec = 0;
    this.ctimensec = 0;
    this.mode = 0;
    this.nlink = 0;
    this.uid = 0;
    this.gid = 0;
    this.rdev = 0;
    this.blksize = 0;
    this.flags = 0;
  }
}

/**
 * A node found or made. Each entry delivered with a `nodeid` other than 0 adds one to the lookup
 * count that `forget` later takes back.
 */
export class EntryReply {
  /** 0 in a successful lookup means: there is no such name, and that may be cached. */
  nodeid = 0;
  /** (nodeid, generation) must be unique for the life of the file system. */
  generation = 0;
  /** How long the name may be cached, in milliseconds; `Infinity` for ever. Preset by the session. */
  entryValidMs = 0;
  /** How long the attributes may be cached, in milliseconds; `Infinity` for ever. Preset by the session. */
  attrValidMs = 0;
  readonly attr = new Attr();
}

export class AttrReply {
  /** How long the attributes may be cached, in milliseconds; `Infinity` for ever. Preset by the session. */
  attrValidMs = 0;
  readonly attr = new Attr();
}

export class OpenReply {
  /** The handle that later requests carry; below 2^53. */
  fh = 0;
  /** `FOPEN_...`. */
  flags = 0;
  /**
   * An open host file that holds exactly this file's data: where the transport and the kernel can
   * (`FUSE_PASSTHROUGH`), reads, writes and mappings go straight to it and the backend sees none of
   * them; elsewhere it is ignored. Set it for every open of a file or for none. It stays the backend's;
   * it must be open when the result is delivered, and a read-only one will do for every access mode.
   */
  passthroughFd: number | undefined = undefined;
  /** With `FOPEN_PASSTHROUGH`: the id from FUSE_DEV_IOC_BACKING_OPEN. Left to the session. */
  backingId = 0;
}

/** Named as in `struct fuse_kstatfs`; blocks are in units of `frsize`. */
export class StatfsReply {
  blocks = 0;
  bfree = 0;
  bavail = 0;
  files = 0;
  ffree = 0;
  bsize = 4096;
  namelen = 255;
  frsize = 4096;
}

/** A time with nanoseconds, as in statx(2). */
export class StatxTime {
  /** Seconds since the epoch. */
  seconds = 0;
  nanoseconds = 0;
}

/** Named as in `struct fuse_statx`. */
export class StatxReply {
  attrValidMs = 0;
  /** `STATX_...` bits of the fields that are filled in. */
  mask = 0;
  blksize = 0;
  attributes = 0;
  attributesMask = 0;
  nlink = 0;
  uid = 0;
  gid = 0;
  mode = 0;
  ino = 0;
  size = 0;
  blocks = 0;
  rdevMajor = 0;
  rdevMinor = 0;
  devMajor = 0;
  devMinor = 0;
  readonly atime = new StatxTime();
  readonly btime = new StatxTime();
  readonly ctime = new StatxTime();
  readonly mtime = new StatxTime();
}

/** The lock that conflicts, or type `F_UNLCK` when there is none. */
export class LockReply {
  /** First byte. */
  start = 0;
  /** Last byte, inclusive; `Infinity` is the end of the file, wherever it is. */
  end = Number.POSITIVE_INFINITY;
  /** `F_RDLCK`, `F_WRLCK` or `F_UNLCK`. */
  type = 2;
  pid = 0;
}

export class IoctlReply {
  /** What ioctl(2) returns to the caller. */
  result = 0;
  /** How many bytes of the output buffer go back to the caller. */
  length = 0;
}
