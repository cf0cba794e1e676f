import type { Notifier } from "./notifier.js";
import type {
  AttrReply,
  EntryReply,
  IoctlReply,
  LockReply,
  OpenReply,
  StatfsReply,
  StatxReply,
} from "./reply.js";
import type {
  DirectoryPlusSink,
  DirectorySink,
  LockRequest,
  RequestContext,
  SessionInfo,
  SetattrRequest,
} from "./request.js";

/**
 * The outcome of an operation: 0 or a count on success, a negated Linux errno (`-ENOENT`) on failure.
 * A promise makes the operation asynchronous; its rejection is treated as a throw.
 */
export type Result = number | Promise<number>;

/** What a backend wants negotiated beyond what follows from the methods it has. */
export interface BackendFeatures {
  /**
   * The backend clears set-id bits and capabilities on write, truncate and chown as the kernel would
   * (`FUSE_HANDLE_KILLPRIV_V2`): it looks at `FUSE_WRITE_KILL_SUIDGID`, `FUSE_OPEN_KILL_SUIDGID` and
   * `FATTR_KILL_SUIDGID`.
   */
  readonly killPrivileges?: boolean;
  /** The backend applies the umask itself (`FUSE_DONT_MASK`), which default ACLs need. */
  readonly appliesUmask?: boolean;
  /** `system.posix_acl_*` attributes are kept and checked (`FUSE_POSIX_ACL`). */
  readonly posixAcl?: boolean;
  /** `lookup` resolves `.` and `..` (`FUSE_EXPORT_SUPPORT`), which NFS export needs. */
  readonly exportSupport?: boolean;
  /** The kernel may collect writes, as with the session's `writebackCache`. */
  readonly writebackCache?: boolean;
}

/**
 * A file system, as the kernel sees it: nodes with ids, names that lead to them. This is the seam to
 * implement; every method is optional, and an absent one answers `ENOSYS` (which the kernel remembers
 * and often replaces by a default: it never asks again for `open`, `flush`, `access`, ...).
 *
 * - Methods return a {@link Result}. They may throw {@link FuseError}; any other throw is logged and
 *   answered with `EIO`.
 * - A node lives from the reply that first delivers its id until `forget` has taken back every
 *   delivery *and* the last handle is released, even when it has no name left. The root has id 1,
 *   exists from the start and is never forgotten.
 * - Names are decoded without loss by `decodeName`: 1..255 bytes, without `/` and NUL, never `.` or
 *   `..`. Ids, handles, offsets and sizes are integers below 2^53.
 * - `fh` is what `open`, `opendir` or `create` delivered. It is 0 when there was none, so a backend
 *   without handles can leave out `open`, `opendir` and the release methods.
 * - Buffers and reply objects may be used until the result is delivered, not longer.
 */
export interface FsBackend {
  /** Read once, when a client connects. */
  readonly features?: BackendFeatures;

  /**
   * Called before `init` by a transport that can carry notifications to its client; they may be sent
   * from `init` to `destroy`. Of transports here, /dev/fuse can.
   */
  attachNotifier?(notifier: Notifier): void;
  /** A client has connected; called before any other operation. */
  init?(info: SessionInfo): void;
  /** The client is gone: every lookup is forgotten, every handle released. */
  destroy?(): void;

  lookup?(ctx: RequestContext, parent: number, name: string, reply: EntryReply): Result;
  /** Takes back `count` deliveries of a node. */
  forget?(nodeid: number, count: number): void;
  /** @param fh - The open file that is asked about, when there is one. */
  getattr?(ctx: RequestContext, nodeid: number, fh: number | undefined, reply: AttrReply): Result;
  /** @param fh - With ftruncate(2) and the like, the open file. */
  setattr?(
    ctx: RequestContext,
    nodeid: number,
    fh: number | undefined,
    request: SetattrRequest,
    reply: AttrReply,
  ): Result;
  /**
   * @param flags - `AT_STATX_...`.
   * @param mask - The `STATX_...` fields that are wanted.
   */
  statx?(
    ctx: RequestContext,
    nodeid: number,
    fh: number | undefined,
    flags: number,
    mask: number,
    reply: StatxReply,
  ): Result;

  /** Writes the target to `target` and returns its length in bytes. */
  readlink?(ctx: RequestContext, nodeid: number, target: Uint8Array): Result;
  /** @param target - Decoded as names are; 1..4095 bytes. */
  symlink?(
    ctx: RequestContext,
    parent: number,
    name: string,
    target: string,
    reply: EntryReply,
  ): Result;
  /** @param mode - File type and permissions; the umask is applied already, unless `appliesUmask`. */
  mknod?(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    rdev: number,
    umask: number,
    reply: EntryReply,
  ): Result;
  mkdir?(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    umask: number,
    reply: EntryReply,
  ): Result;
  unlink?(ctx: RequestContext, parent: number, name: string): Result;
  rmdir?(ctx: RequestContext, parent: number, name: string): Result;
  /** @param flags - `RENAME_...`. */
  rename?(
    ctx: RequestContext,
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: number,
  ): Result;
  link?(
    ctx: RequestContext,
    nodeid: number,
    newParent: number,
    newName: string,
    reply: EntryReply,
  ): Result;

  /**
   * @param flags - Of open(2), without `O_CREAT`, `O_EXCL` and `O_NOCTTY`; `O_TRUNC` must be obeyed.
   * @param openFlags - `FUSE_OPEN_KILL_SUIDGID`.
   */
  open?(
    ctx: RequestContext,
    nodeid: number,
    flags: number,
    reply: OpenReply,
    openFlags: number,
  ): Result;
  create?(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    umask: number,
    flags: number,
    reply: EntryReply,
    opened: OpenReply,
    openFlags: number,
  ): Result;
  /** Makes a file without a name (`O_TMPFILE`). */
  tmpfile?(
    ctx: RequestContext,
    parent: number,
    mode: number,
    umask: number,
    flags: number,
    reply: EntryReply,
    opened: OpenReply,
    openFlags: number,
  ): Result;
  /**
   * Fills `buffers` one after the other and returns how many bytes it read: all that there are, less
   * only at the end of the file. The buffers are the client's own memory where the transport can.
   */
  read?(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    offset: number,
    buffers: readonly Uint8Array[],
  ): Result;
  /**
   * Returns how many bytes of `buffers` it wrote.
   *
   * @param writeFlags - `FUSE_WRITE_...`.
   */
  write?(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    offset: number,
    buffers: readonly Uint8Array[],
    writeFlags: number,
  ): Result;
  /** Called at every close(2) of a descriptor: zero, one or many times per handle. */
  flush?(ctx: RequestContext, nodeid: number, fh: number): Result;
  /**
   * The last descriptor is closed; the result is ignored by the kernel.
   *
   * @param releaseFlags - `FUSE_RELEASE_...`.
   */
  release?(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    flags: number,
    releaseFlags: number,
  ): Result;
  /** @param dataOnly - As fdatasync(2). */
  fsync?(ctx: RequestContext, nodeid: number, fh: number, dataOnly: boolean): Result;
  /** @param mode - `FALLOC_FL_...`. */
  fallocate?(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    mode: number,
    offset: number,
    length: number,
  ): Result;
  /** For `SEEK_DATA` and `SEEK_HOLE`; returns the new offset. */
  lseek?(ctx: RequestContext, nodeid: number, fh: number, offset: number, whence: number): Result;
  /** Returns how many bytes it copied. */
  copyFileRange?(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    offset: number,
    nodeidOut: number,
    fhOut: number,
    offsetOut: number,
    length: number,
    flags: number,
  ): Result;

  opendir?(ctx: RequestContext, nodeid: number, flags: number, reply: OpenReply): Result;
  /**
   * Lists a directory, `.` and `..` included if it likes, from after the record whose cookie is
   * `offset` (0: from the start) until the sink is full or there is no more. Returns 0.
   */
  readdir?(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    offset: number,
    sink: DirectorySink,
  ): Result;
  readdirplus?(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    offset: number,
    sink: DirectoryPlusSink,
  ): Result;
  releasedir?(ctx: RequestContext, nodeid: number, fh: number, flags: number): Result;
  fsyncdir?(ctx: RequestContext, nodeid: number, fh: number, dataOnly: boolean): Result;

  statfs?(ctx: RequestContext, nodeid: number, reply: StatfsReply): Result;
  syncfs?(ctx: RequestContext, nodeid: number): Result;
  /** @param mask - `R_OK`, `W_OK`, `X_OK` of access(2). */
  access?(ctx: RequestContext, nodeid: number, mask: number): Result;

  /**
   * @param flags - `XATTR_CREATE`, `XATTR_REPLACE`.
   * @param setxattrFlags - `FUSE_SETXATTR_ACL_KILL_SGID`.
   */
  setxattr?(
    ctx: RequestContext,
    nodeid: number,
    name: string,
    value: Uint8Array,
    flags: number,
    setxattrFlags: number,
  ): Result;
  /**
   * Writes the value and returns its length. An empty `value` asks for the length only; a value that
   * does not fit is `-ERANGE`.
   */
  getxattr?(ctx: RequestContext, nodeid: number, name: string, value: Uint8Array): Result;
  /** The same, for the names, each followed by a NUL. */
  listxattr?(ctx: RequestContext, nodeid: number, list: Uint8Array): Result;
  removexattr?(ctx: RequestContext, nodeid: number, name: string): Result;

  /** POSIX record locks. Without these the kernel keeps locks locally. */
  getlk?(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    lock: LockRequest,
    reply: LockReply,
  ): Result;
  /** @param wait - Wait for a conflicting lock to go away; observe `ctx.signal` meanwhile. */
  setlk?(ctx: RequestContext, nodeid: number, fh: number, lock: LockRequest, wait: boolean): Result;
  /** A lock of the whole file, as flock(2); otherwise like `setlk`. */
  flock?(ctx: RequestContext, nodeid: number, fh: number, lock: LockRequest, wait: boolean): Result;

  /**
   * @param argument - The third argument of ioctl(2): an address in the caller, or a number.
   * @param input - What `_IOW` copies in.
   * @param output - Room for what `_IOR` copies out.
   */
  ioctl?(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    command: number,
    argument: number,
    flags: number,
    input: Uint8Array,
    output: Uint8Array,
    reply: IoctlReply,
  ): Result;
  /**
   * Returns the `POLL...` events that are ready.
   *
   * @param notify - When not undefined: pass it to `Notifier.poll` once the file becomes ready.
   */
  poll?(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    events: number,
    notify: number | undefined,
  ): Result;
  /** Returns the number of the device block that holds block `block` of the file. */
  bmap?(ctx: RequestContext, nodeid: number, block: number, blockSize: number): Result;

  /**
   * Maps `length` bytes of the file from `offset` at `windowOffset` of the DAX window.
   *
   * @param fh - Undefined when the client has no open handle at hand.
   * @param flags - `FUSE_SETUPMAPPING_FLAG_...`.
   */
  setupMapping?(
    ctx: RequestContext,
    nodeid: number,
    fh: number | undefined,
    offset: number,
    length: number,
    flags: number,
    windowOffset: number,
  ): Result;
  /** Unmaps part of the DAX window. */
  removeMapping?(ctx: RequestContext, windowOffset: number, length: number): Result;
}
