import { FUSE_RELEASE_FLOCK_UNLOCK, O_TRUNC } from "@supermachine/fuse-protocol";
import type {
  DirectoryPlusSink,
  DirectorySink,
  EntryReply,
  FsBackend,
  OpenReply,
  RequestContext,
  Result,
} from "@supermachine/fuse-server";
import * as directories from "./operations/directories.js";
import * as fileData from "./operations/file-data.js";
import * as files from "./operations/files.js";
import type { HostLocks } from "./operations/host-locks.js";
import type { Share } from "./share.js";
import type { WatchRecorder } from "./watch/watch-recorder.js";

/**
 * The half of `PosixBackend` that opens files and directories, and works on what is open. For each operation it says
 * what it means for the other parts: what the watcher is told, and what becomes of locks.
 */
export abstract class OpenFilesBackend {
  // Absent where the client's kernel does better without: it asks for those that there are.
  flush?: NonNullable<FsBackend["flush"]>;
  getlk?: NonNullable<FsBackend["getlk"]>;
  setlk?: NonNullable<FsBackend["setlk"]>;
  flock?: NonNullable<FsBackend["flock"]>;
  /** For backends that extend this one. @internal */
  protected readonly share: Share;
  /** Every operation whose answer or effect the client will remember passes by it. @internal */
  protected abstract readonly watcher: WatchRecorder | undefined;
  /** @internal */
  protected readonly locks: HostLocks | undefined;

  /** @internal */
  constructor(share: Share, locks: HostLocks | undefined) {
    this.share = share;
    this.locks = locks;
    if (locks !== undefined) this.#takeLocks(locks);
    if (locks !== undefined || share.reportsAtClose) {
      this.flush = (ctx, nodeid, fh) => {
        this.locks?.drop("record", nodeid, ctx.lockOwner);
        return fileData.flush(this.share, fh);
      };
    }
  }

  #takeLocks(locks: HostLocks): void {
    this.getlk = (_ctx, nodeid, _fh, lock, reply) => locks.test(nodeid, lock, reply);
    this.setlk = (ctx, nodeid, fh, lock, wait) =>
      locks.set("record", nodeid, fh, lock, wait ? ctx.signal : undefined);
    this.flock = (ctx, nodeid, fh, lock, wait) =>
      locks.set("file", nodeid, fh, lock, wait ? ctx.signal : undefined);
  }

  open(
    ctx: RequestContext,
    nodeid: number,
    flags: number,
    reply: OpenReply,
    openFlags: number,
  ): number {
    if ((flags & O_TRUNC) !== 0) this.watcher?.clientChanges(nodeid);
    return files.open(this.share, ctx, nodeid, flags, openFlags, reply);
  }

  create(
    ctx: RequestContext,
    parent: number,
    name: string,
    mode: number,
    umask: number,
    flags: number,
    reply: EntryReply,
    opened: OpenReply,
    openFlags: number,
  ): number {
    this.watcher?.clientChanges(parent);
    const result = files.create(
      this.share,
      ctx,
      parent,
      name,
      mode,
      umask,
      flags,
      reply,
      opened,
      openFlags,
    );
    if (result === 0) this.watcher?.made(parent, name, reply);
    return result;
  }

  tmpfile(
    ctx: RequestContext,
    parent: number,
    mode: number,
    umask: number,
    flags: number,
    reply: EntryReply,
    opened: OpenReply,
  ): number {
    return files.tmpfile(this.share, ctx, parent, mode, umask, flags, reply, opened);
  }

  read(
    _ctx: RequestContext,
    _nodeid: number,
    fh: number,
    offset: number,
    buffers: readonly Uint8Array[],
  ): Result {
    return fileData.read(this.share, fh, offset, buffers);
  }

  write(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    offset: number,
    buffers: readonly Uint8Array[],
    writeFlags: number,
  ): number {
    this.watcher?.clientChanges(nodeid);
    return fileData.write(this.share, ctx, fh, offset, buffers, writeFlags);
  }

  release(ctx: RequestContext, nodeid: number, fh: number, _flags = 0, releaseFlags = 0): number {
    this.share.handles.release(fh);
    this.locks?.closed(nodeid, fh);
    if ((releaseFlags & FUSE_RELEASE_FLOCK_UNLOCK) !== 0) {
      this.locks?.drop("file", nodeid, ctx.lockOwner);
    }
    return 0;
  }

  fsync(_ctx: RequestContext, _nodeid: number, fh: number, dataOnly: boolean): Result {
    return fileData.fsync(this.share, fh, dataOnly);
  }

  fallocate(
    ctx: RequestContext,
    nodeid: number,
    fh: number,
    mode: number,
    offset: number,
    length: number,
  ): Result {
    this.watcher?.clientChanges(nodeid);
    return fileData.fallocate(this.share, ctx, fh, mode, offset, length);
  }

  lseek(_ctx: RequestContext, _nodeid: number, fh: number, offset: number, whence: number): number {
    return fileData.lseek(this.share, fh, offset, whence);
  }

  copyFileRange(
    ctx: RequestContext,
    _nodeid: number,
    fh: number,
    offset: number,
    nodeidOut: number,
    fhOut: number,
    offsetOut: number,
    length: number,
  ): Result {
    this.watcher?.clientChanges(nodeidOut);
    return fileData.copyFileRange(this.share, ctx, fh, offset, fhOut, offsetOut, length);
  }

  opendir(_ctx: RequestContext, nodeid: number, _flags: number, reply: OpenReply): number {
    return directories.opendir(this.share, nodeid, reply);
  }

  readdir(
    _ctx: RequestContext,
    nodeid: number,
    fh: number,
    offset: number,
    sink: DirectorySink,
  ): number {
    return directories.readdir(this.share, nodeid, fh, offset, sink);
  }

  readdirplus(
    _ctx: RequestContext,
    nodeid: number,
    fh: number,
    offset: number,
    sink: DirectoryPlusSink,
  ): number {
    const told = this.watcher?.listing(nodeid, sink) ?? sink;
    return directories.readdirplus(this.share, nodeid, fh, offset, told);
  }

  releasedir(_ctx: RequestContext, _nodeid: number, fh: number): number {
    this.share.handles.release(fh);
    return 0;
  }

  fsyncdir(_ctx: RequestContext, _nodeid: number, fh: number, dataOnly: boolean): Result {
    return fileData.fsyncdir(this.share, fh, dataOnly);
  }
}
