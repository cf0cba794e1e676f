import { readFileSync } from "node:fs";
import {
  ESTALE,
  errnoName,
  FUSE_DONT_MASK,
  FUSE_PASSTHROUGH,
  FUSE_SUBMOUNTS,
  FUSE_WRITEBACK_CACHE,
  O_TRUNC,
} from "@supermachine/fuse-protocol";
import type { Attr, AttrReply, EntryReply, SessionInfo } from "@supermachine/fuse-server";
import { PosixBackendError } from "./error.js";
import { HandleTable } from "./handles/handle-table.js";
import { Caller } from "./identity/caller.js";
import { IdMap } from "./identity/id-map.js";
import { memorySize } from "./nodes/fd-budget.js";
import { InodeTable } from "./nodes/inode-table.js";
import { attachThread, detachThread, NodeMemory } from "./nodes/node-memory.js";
import { StatBuffer } from "./nodes/stat-buffer.js";
import { openMount } from "./nodes/volume-table.js";
import { NameBuffer } from "./operations/name-buffer.js";
import { isNetworkFileSystem } from "./operations/network-file-system.js";
import { XattrMap } from "./operations/xattr-map.js";
import type { Settings } from "./options.js";
import {
  close,
  duplicate,
  fstatfs,
  ftruncate,
  isPortable,
  makeRoomForDescriptors,
  openAt,
  openPath,
  reopen,
} from "./platform/host.js";
import { O_DIRECTORY, O_PATH } from "./syscalls/constants.js";
import { statfsStruct } from "./syscalls/structs.js";

const CAPABILITY = "security.capability";
const PROC_SUPER_MAGIC = 0x9fa0n;

/** An O_PATH handle of this process's /proc/self/fd, checked to be the real one; -1 where handles need none. */
function openProc(): number {
  if (isPortable) return -1;
  const fd = openPath("/proc/self/fd", O_PATH | O_DIRECTORY);
  const bytes = new Uint8Array(statfsStruct.size);
  if (fd >= 0 && fstatfs(fd, bytes) === 0) {
    if (statfsStruct.decode(bytes).f_type === PROC_SUPER_MAGIC) return fd;
  }
  if (fd >= 0) close(fd);
  throw new PosixBackendError(
    "ERR_POSIX_PROC",
    "/proc is not mounted; mount it: open files are reached through /proc/self/fd",
  );
}

/** umask(2) cannot be read without changing it, for all threads, so it is read from /proc where that is. */
function hostUmask(): number {
  if (isPortable) return process.umask();
  const match = /^Umask:\s*([0-7]+)$/m.exec(readFileSync("/proc/self/status", "latin1"));
  return Number.parseInt(match?.[1] ?? "777", 8);
}

/** What all operations on one shared directory work with. */
export class Share implements Disposable {
  readonly settings: Settings;
  /** How long names and attributes may be cached, in milliseconds. */
  readonly entryValidMs: number;
  readonly attrValidMs: number;
  readonly inodes: InodeTable;
  readonly handles: HandleTable;
  readonly caller: Caller;
  /** An O_PATH handle of /proc/self/fd, below which Linux reopens handles; -1 elsewhere. */
  readonly procFd: number;
  /** The bits that the host takes away from the mode of every new file. */
  readonly hostUmask: number;
  readonly xattrMap: XattrMap | undefined;
  /**
   * security.capability has another name on the host, so that the host's kernel does not drop it when the
   * file changes (CVE-2021-20263).
   */
  readonly mapsCapabilities: boolean;
  readonly #uids: IdMap | undefined;
  readonly #gids: IdMap | undefined;
  readonly #memory: NodeMemory;
  readonly #thread: number;
  /** Made here: the nodes end with this share. */
  readonly #ownsMemory: boolean;
  /** The client caches writes: it reads files that it writes to, and places appends itself. */
  writebackCache = false;
  /** The file system of the root reports failed writes when a file is closed, as NFS does. */
  readonly reportsAtClose: boolean;
  /** The file system can tell what it has cached, so that a read need not wait here. */
  readsCached = true;
  /** The client's kernel can read and write host files itself. */
  passthrough = false;
  /** The client leaves the umask to the host, whose default access control lists override it. */
  appliesUmask = false;
  announcesSubmounts = false;
  /** The latest lookup was of no new node, and the next may well be alike. */
  expectsNothingNew = false;
  /** The client may make device nodes. */
  allowsDevices: boolean;
  /** The client may have other extended attributes than `user.*`. */
  allowsPrivilegedXattrs: boolean;

  // Operations are synchronous, so these serve one at a time.
  readonly stat = new StatBuffer();
  readonly name = new NameBuffer();
  readonly newName = new NameBuffer();
  #open = true;

  /**
   * @param root - The directory; or the memory of a share that another thread has made, to work on it too.
   * @param threads - How many threads may work on it.
   */
  constructor(root: string | SharedArrayBuffer, settings: Settings, threads = 1) {
    this.settings = settings;
    this.entryValidMs = settings.entryTimeoutMs;
    this.attrValidMs = settings.attrTimeoutMs;
    this.xattrMap = settings.xattrMap === undefined ? undefined : new XattrMap(settings.xattrMap);
    const capability = this.xattrMap?.toHost(CAPABILITY) ?? CAPABILITY;
    this.mapsCapabilities = typeof capability === "string" && capability !== CAPABILITY;
    this.#uids = settings.translateUid.length > 0 ? new IdMap(settings.translateUid) : undefined;
    this.#gids = settings.translateGid.length > 0 ? new IdMap(settings.translateGid) : undefined;
    this.allowsDevices = settings.devices ?? false;
    this.allowsPrivilegedXattrs = settings.privilegedXattrs ?? false;
    this.procFd = openProc();
    this.hostUmask = hostUmask();
    this.caller = new Caller(this.#uids, this.#gids);
    try {
      const found = root instanceof SharedArrayBuffer ? undefined : this.#openRoot(root, threads);
      const memory = found?.memory ?? new NodeMemory(root as SharedArrayBuffer);
      this.#thread = attachThread(memory);
      this.#ownsMemory = found !== undefined;
      this.handles = new HandleTable(memory);
      this.inodes = new InodeTable(
        memory,
        this.#thread,
        this.procFd,
        isPortable ? "never" : settings.inodeFileHandles,
        (nodeid) => this.handles.fdOf(nodeid),
      );
      if (found !== undefined) this.inodes.setRoot(found.fd, this.stat);
      this.#memory = memory;
      this.reportsAtClose = isNetworkFileSystem(this.inodes.rootFd);
    } catch (error) {
      this.#closeProc();
      throw error;
    }
  }

  #closeProc(): void {
    if (this.procFd >= 0) close(this.procFd);
  }

  /** Opens the root, `stat` set to its attributes, and allocates the memory of its nodes. */
  #openRoot(root: string, threads: number): { fd: number; memory: NodeMemory } {
    const fd = openPath(root, O_PATH | O_DIRECTORY);
    const failure = fd < 0 ? fd : this.stat.read(fd);
    if (failure < 0) {
      if (fd >= 0) close(fd);
      throw new PosixBackendError(
        "ERR_POSIX_ROOT",
        `cannot share ${root}: ${errnoName(failure)}; give a directory that this process may open`,
      );
    }
    const { inodeFileHandles } = this.settings;
    const hasNone = inodeFileHandles === "never" || isPortable;
    const mountFd = hasNone ? -1 : openMount(this.procFd, fd, this.stat.mode);
    if (mountFd >= 0) close(mountFd);
    else if (inodeFileHandles === "mandatory") {
      close(fd);
      throw new PosixBackendError(
        "ERR_POSIX_FILE_HANDLES",
        `${root} cannot be shared by file handles; its file system has none or this process lacks CAP_DAC_READ_SEARCH: use inodeFileHandles "prefer"`,
      );
    }
    return { fd, memory: new NodeMemory(memorySize(this.settings, threads, mountFd >= 0)) };
  }

  /** For `PosixBackend`s of other threads. */
  get memory(): SharedArrayBuffer {
    return this.#memory.buffer;
  }

  /** A client has connected. */
  agree(info: SessionInfo): void {
    const agreed = (flag: number | bigint) => (info.flags & BigInt(flag)) !== 0n;
    const { settings } = this;
    this.writebackCache = agreed(FUSE_WRITEBACK_CACHE);
    // Data of the `metadata` policy is not cached, which passed-through data is: on the host.
    this.passthrough = agreed(FUSE_PASSTHROUGH) && settings.cache !== "metadata";
    this.appliesUmask = agreed(FUSE_DONT_MASK);
    this.announcesSubmounts = settings.announceSubmounts && agreed(FUSE_SUBMOUNTS);
    this.caller.seesProcesses = info.hostKernel;
    this.allowsDevices = settings.devices ?? info.hostKernel;
    this.allowsPrivilegedXattrs = settings.privilegedXattrs ?? info.hostKernel;
  }

  /** Puts what `stat` holds into the terms of the client. */
  present(attr: Attr): void {
    this.stat.copyTo(attr);
    this.toClientIds(attr);
  }

  toClientIds(owner: { uid: number; gid: number }): void {
    if (this.#uids !== undefined) owner.uid = this.#uids.toGuest(owner.uid);
    if (this.#gids !== undefined) owner.gid = this.#gids.toGuest(owner.gid);
  }

  /**
   * Hands the inode that the O_PATH handle `fd` holds to the guest, and takes over `fd`. `stat` holds its
   * attributes; 0 or a negated errno.
   *
   * @param parent - The directory in which it is `name`; 0 when it has no name, or not that one.
   */
  deliver(fd: number, parent: number, reply: EntryReply): number {
    return this.deliverNode(this.inodes.adopt(fd, this.stat, parent, this.name.bytes), reply);
  }

  /** As {@link deliver}, for a node that the client holds, and that is `name` in `parent` as well now. */
  deliverAgain(nodeid: number, parent: number, reply: EntryReply): number {
    if (this.inodes.needsNames) this.inodes.rename(this.stat, parent, this.name.bytes);
    return this.deliverNode(this.inodes.addLookup(nodeid), reply);
  }

  /** As {@link deliver}, for a node that the inode table has counted already; or its errno. */
  deliverNode(nodeid: number, reply: EntryReply): number {
    if (nodeid < 0) return nodeid;
    reply.nodeid = nodeid;
    reply.generation = 0;
    reply.entryValidMs = this.entryValidMs;
    reply.attrValidMs = this.attrValidMs;
    this.present(reply.attr);
    return 0;
  }

  /** A file has become `newName` in the directory `parent`, which `parentFd` holds. */
  moved(parent: number, parentFd: number): void {
    if (!this.inodes.needsNames) return;
    const fd = openAt(parentFd, this.newName.bytes, O_PATH);
    if (fd < 0) return;
    if (this.stat.read(fd) === 0) this.inodes.rename(this.stat, parent, this.newName.bytes);
    close(fd);
  }

  /** Answers with the present attributes of what `fd` holds; 0 or a negated errno. */
  describe(fd: number, reply: AttrReply): number {
    const failure = this.stat.read(fd);
    if (failure < 0) return failure;
    reply.attrValidMs = this.attrValidMs;
    this.present(reply.attr);
    return 0;
  }

  /**
   * Opens the regular file that `inode` is the handle of; or a negated errno. Where a file is opened by a name, and
   * it has none any more, one that the client has open still is duplicated.
   */
  openFile(nodeid: number, inode: number, flags: number): number {
    const fd = reopen(this.procFd, inode, flags);
    if (fd !== -ESTALE) return fd;
    const open = this.handles.fdLike(nodeid, flags);
    const copy = open < 0 ? fd : duplicate(open);
    if (copy < 0 || (flags & O_TRUNC) === 0) return copy;
    const failure = ftruncate(copy, 0);
    if (failure === 0) return copy;
    close(copy);
    return failure;
  }

  /** The client is gone: what it held, but the root, is forgotten, unless other threads serve it still. */
  reset(): void {
    if (!this.#ownsMemory) return;
    this.handles.close();
    this.inodes.clear();
  }

  /** For a process whose business is to serve: what it opens in all later costs no waiting. */
  makeRoomForDescriptors(): void {
    makeRoomForDescriptors(this.procFd, this.settings.maxFds + this.settings.maxHandles);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#ownsMemory) {
      this.handles.close();
      this.inodes.close();
    } else {
      this.inodes.detach();
    }
    detachThread(this.#memory, this.#thread);
    this.#closeProc();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
