import { RENAME_EXCHANGE, S_IFDIR } from "@supermachine/fuse-protocol";
import type {
  AttrReply,
  BackendFeatures,
  EntryReply,
  FsBackend,
  Notifier,
  RequestContext,
  Result,
  SessionInfo,
  SetattrRequest,
  StatfsReply,
  StatxReply,
} from "@supermachine/fuse-server";
import { PosixBackendError } from "./error.js";
import { ROOT_NODEID } from "./nodes/inode-table.js";
import { OpenFilesBackend } from "./open-files-backend.js";
import * as attributes from "./operations/attributes.js";
import { HostLocks } from "./operations/host-locks.js";
import * as namespace from "./operations/namespace.js";
import * as xattrs from "./operations/xattrs.js";
import { type PosixBackendOptions, settingsOf } from "./options.js";
import { Share } from "./share.js";
import * as snapshot from "./snapshot/node-snapshot.js";
import type { WatcherAddress } from "./watch/remote-registry.js";
import { watchAlone, watchFor } from "./watch/shared-watch.js";
import type { WatchRecorder } from "./watch/watch-recorder.js";

function requirePlatform(): void {
  const { platform, arch } = process;
  const isSystem = platform === "linux" || platform === "darwin";
  if (isSystem && (arch === "x64" || arch === "arm64")) return;
  throw new PosixBackendError(
    "ERR_POSIX_PLATFORM",
    `PosixBackend does not run on ${platform} ${arch}; it needs 64-bit Linux or macOS`,
  );
}

/**
 * A file system over a host directory. Whatever a client asks for, nothing outside the directory is read,
 * written or listed; see the README for how, and for what root in the client can do inside.
 *
 * One backend serves one client at a time, synchronously, on the thread that calls it. Operations return
 * negated errnos and never throw. They keep the contract of `FsBackend`; absent are `flush` and `access`
 * (the client's kernel then stops asking), locks (kept by the client's kernel: its own processes see them,
 * the host's do not), `ioctl`, `poll` and `bmap`.
 *
 * @example
 * ```ts
 * using backend = new PosixBackend("/srv/project", { readOnly: true });
 * ```
 */
export class PosixBackend extends OpenFilesBackend implements FsBackend, Disposable {
  readonly features: BackendFeatures;
  /** @internal */
  protected readonly watcher: WatchRecorder | undefined;

  /**
   * @param root - The directory to share; symbolic links in this path are followed, once. Or the memory of
   * a `SharedPosixShare`, whose directory this thread is to serve too, with the same options.
   * @param watcher - Of that share, when it watches.
   * @throws {@link PosixBackendError} with `ERR_POSIX_PLATFORM`, `ERR_POSIX_PROC`, `ERR_POSIX_ROOT`,
   * `ERR_POSIX_OPTION` or `ERR_POSIX_WATCH`.
   */
  constructor(
    root: string | SharedArrayBuffer,
    options: PosixBackendOptions = {},
    watcher?: WatcherAddress,
  ) {
    requirePlatform();
    const settings = settingsOf(options);
    const share = new Share(root, settings);
    super(share, settings.locks ? new HostLocks(share) : undefined);
    this.features = {
      killPrivileges: settings.killpriv,
      posixAcl: settings.posixAcl,
      appliesUmask: settings.posixAcl,
      writebackCache: settings.writeback,
    };
    if (!settings.watch) return;
    try {
      const { inodes } = this.share;
      this.watcher =
        watcher === undefined ? watchAlone(inodes, settings) : watchFor(watcher, inodes, settings);
    } catch (error) {
      this.share.close();
      throw error;
    }
  }

  /** How many nodes the client holds, the root included. */
  get inodeCount(): number {
    return this.share.inodes.size;
  }

  /** How many files and directories the client has open. */
  get handleCount(): number {
    return this.share.handles.size;
  }

  /** Releases every fd; later operations fail with ESTALE or EBADF. */
  close(): void {
    this.watcher?.close();
    this.locks?.clear();
    this.share.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  attachNotifier(notifier: Notifier): void {
    this.watcher?.attach(notifier);
  }

  /**
   * What the client holds, nodes and open files, as bytes: for the snapshot of a machine that goes on later.
   * The client must be at rest.
   */
  saveNodes(): Uint8Array {
    return snapshot.saveNodes(this.share);
  }

  /**
   * Takes up what {@link saveNodes} of a backend of the same directory wrote, in place of what the client
   * holds now. Every node is looked up again beneath the root, no symbolic link followed; what is no longer
   * there answers ESTALE, and files that cannot be opened again EBADF.
   *
   * @throws {@link PosixBackendError} with `ERR_POSIX_NODES`, for bytes that are anything else.
   */
  restoreNodes(saved: Uint8Array): void {
    snapshot.restoreNodes(this.share, saved);
  }

  init(info: SessionInfo): void {
    this.share.agree(info);
    this.watcher?.start(ROOT_NODEID);
  }

  destroy(): void {
    this.watcher?.stop();
    this.locks?.clear();
    this.share.reset();
  }

  lookup(_ctx: RequestContext, parent: number, name: string, reply: EntryReply): number {
    const result = namespace.lookup(this.share, parent, name, reply);
    if (result === 0) this.watcher?.entry(parent, name, reply);
    return result;
  }

  forget(nodeid: number, count: number): void {
    const { inodes } = this.share;
    const watched = this.watcher !== undefined && inodes.type(nodeid) === S_IFDIR;
    inodes.forget(nodeid, count);
    if (watched && inodes.type(nodeid) === 0) this.watcher?.forgotten(nodeid);
  }

  getattr(_ctx: RequestContext, nodeid: number, fh: number | undefined, reply: AttrReply): number {
    const result = attributes.getattr(this.share, nodeid, fh, reply);
    if (result === 0) this.watcher?.attributes(nodeid, reply);
    return result;
  }

  setattr(
    ctx: RequestContext,
    nodeid: number,
    fh: number | undefined,
    request: SetattrRequest,
    reply: AttrReply,
  ): number {
    this.watcher?.clientChanges(nodeid);
    const result = attributes.setattr(this.share, ctx, nodeid, fh, request, reply);
    if (result === 0) this.watcher?.attributes(nodeid, reply);
    return result;
  }

  statx(
    _ctx: RequestContext,
    nodeid: number,
    fh: number | undefined,
    _flags: number,
    _mask: number,
    reply: StatxReply,
  ): number {
    const result = attributes.statx(this.share, nodeid, fh, reply);
    if (result === 0) this.watcher?.statx(nodeid, reply);
    return result;
  }

  readlink(_ctx: RequestContext, nodeid: number, target: Uint8Array): number {
    return namespace.readlink(this.share, nodeid, target);
  }

  symlink(
    ctx: RequestContext,
    parent: number,
    name: string,
    target: string,
    reply: EntryReply,
  ): number {
    this.watcher?.clientChanges(parent);
    const result = namespace.symlink(this.share, ctx, parent, name, target, reply);
    if (result === 0) this.watcher?.made(parent, name, reply);
    return result;
  }

  mknod(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    rdev: number,
    umask: number,
    reply: EntryReply,
  ): number {
    this.watcher?.clientChanges(parent);
    const result = namespace.mknod(this.share, ctx, parent, name, mode, rdev, umask, reply);
    if (result === 0) this.watcher?.made(parent, name, reply);
    return result;
  }

  mkdir(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    umask: number,
    reply: EntryReply,
  ): number {
    this.watcher?.clientChanges(parent);
    const result = namespace.mkdir(this.share, ctx, parent, name, mode, umask, reply);
    if (result === 0) this.watcher?.made(parent, name, reply);
    return result;
  }

  unlink(_ctx: RequestContext, parent: number, name: string): number {
    this.watcher?.clientChanges(parent);
    const result = namespace.unlink(this.share, parent, name);
    if (result === 0) this.watcher?.nameRemoved(parent, name);
    return result;
  }

  rmdir(_ctx: RequestContext, parent: number, name: string): number {
    this.watcher?.clientChanges(parent);
    const result = namespace.rmdir(this.share, parent, name);
    if (result === 0) this.watcher?.nameRemoved(parent, name);
    return result;
  }

  rename(
    ctx: RequestContext,
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: number,
  ): number {
    this.watcher?.clientChanges(parent);
    this.watcher?.clientChanges(newParent);
    const result = namespace.rename(this.share, ctx, parent, name, newParent, newName, flags);
    if (result === 0) {
      const exchange = (flags & RENAME_EXCHANGE) !== 0;
      this.watcher?.nameMoved(parent, name, newParent, newName, exchange);
    }
    return result;
  }

  link(
    _ctx: RequestContext,
    nodeid: number,
    newParent: number,
    newName: string,
    reply: EntryReply,
  ): number {
    this.watcher?.clientChanges(newParent);
    const result = namespace.link(this.share, nodeid, newParent, newName, reply);
    if (result === 0) this.watcher?.made(newParent, newName, reply);
    return result;
  }

  statfs(_ctx: RequestContext, nodeid: number, reply: StatfsReply): number {
    return attributes.statfs(this.share, nodeid, reply);
  }

  access(ctx: RequestContext, nodeid: number, mask: number): number {
    return attributes.access(this.share, ctx, nodeid, mask);
  }

  syncfs(_ctx: RequestContext, nodeid: number): Result {
    return attributes.syncfs(this.share, nodeid);
  }

  setxattr(
    _ctx: RequestContext,
    nodeid: number,
    name: string,
    value: Uint8Array,
    flags: number,
    setxattrFlags = 0,
  ): number {
    return xattrs.setxattr(this.share, nodeid, name, value, flags, setxattrFlags);
  }

  getxattr(_ctx: RequestContext, nodeid: number, name: string, value: Uint8Array): number {
    return xattrs.getxattr(this.share, nodeid, name, value);
  }

  listxattr(ctx: RequestContext, nodeid: number, list: Uint8Array): number {
    return xattrs.listxattr(this.share, ctx, nodeid, list);
  }

  removexattr(_ctx: RequestContext, nodeid: number, name: string): number {
    return xattrs.removexattr(this.share, nodeid, name);
  }
}
