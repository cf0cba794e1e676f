import {
  EAGAIN,
  EBADF,
  EINTR,
  ENOLCK,
  F_UNLCK,
  O_RDONLY,
  O_RDWR,
  S_IFREG,
} from "@supermachine/fuse-protocol";
import type { LockReply, LockRequest, Result } from "@supermachine/fuse-server";
import { close, findRecordLock, reopen, setFileLock, setRecordLock } from "../platform/host.js";
import type { Share } from "../share.js";

/** Those of fcntl(2), of ranges; and those of flock(2), of files. Neither kind sees the other. */
type Kind = "record" | "file";

/** An owner of locks in the client: what it has locked of one file belongs to an open file of its own. */
interface Holder {
  readonly fd: number;
  /** The open file of the client that it locked through last. */
  fh: number;
  /** The process of the client that asked last. */
  pid: number;
}

interface Waiter {
  readonly attempt: () => number;
  readonly settle: (result: number) => void;
}

/** How soon those that wait look again for what the host has unlocked, which nothing tells: at first, at most. */
const SOON_MS = 2;
const LATE_MS = 50;

/**
 * The client's locks, taken on the host's files, where the host's programs and other clients see them.
 * Each owner locks through an open file description of its own, so the host's kernel keeps owners apart.
 * Waiting blocks no thread: it is trying again, at once when an owner of this client unlocks. Unlike
 * Linux among local processes, no deadlock is noticed (EDEADLK): one of them must be interrupted.
 */
export class HostLocks {
  readonly #share: Share;
  readonly #holders: Record<Kind, Map<number, Map<bigint, Holder>>> = {
    record: new Map(),
    file: new Map(),
  };
  #count = 0;
  readonly #waiters = new Set<Waiter>();
  #timer: NodeJS.Timeout | undefined;
  #pause = SOON_MS;
  #retrying = false;

  constructor(share: Share) {
    this.#share = share;
  }

  /** Sets or clears a lock. With `signal`, waits until it can, or until it is aborted (-EINTR). */
  set(
    kind: Kind,
    nodeid: number,
    fh: number,
    request: LockRequest,
    signal: AbortSignal | undefined,
  ): Result {
    // The request object is used again once it is answered.
    const { owner, type, start, end, pid } = request;
    const lock = { owner, type, start, end, pid };
    const attempt = () => this.#attempt(kind, nodeid, fh, lock);
    const result = attempt();
    if (result !== -EAGAIN || signal === undefined) {
      // Any change may make room for others: unlocking, and a write lock that becomes a read lock.
      if (result === 0) this.#retry();
      return result;
    }
    return this.#wait(attempt, signal);
  }

  /** Tells of a lock that keeps this one from being set. */
  test(nodeid: number, request: LockRequest, reply: LockReply): number {
    const held = this.#holders.record.get(nodeid)?.get(request.owner)?.fd;
    const fd = held ?? this.#open("record", nodeid);
    if (fd < 0) return fd;
    const found = findRecordLock(fd, request.type, request.start, request.end);
    if (held === undefined) close(fd);
    if (typeof found === "number") return found;
    reply.type = found.type;
    reply.start = found.start;
    reply.end = found.end;
    reply.pid = found.pid > 0 ? found.pid : this.#pidOfOther(nodeid, request.owner);
    return 0;
  }

  /** Clears all locks of an owner on a file: it has closed it. */
  drop(kind: Kind, nodeid: number, owner: bigint): void {
    if (this.#forget(kind, nodeid, owner)) this.#retry();
  }

  /**
   * Clears the record locks that were set through an open file which nobody has open any more. Those of
   * processes are gone by then; those of open files (`F_OFD_SETLK`) end without another word of the kernel.
   */
  closed(nodeid: number, fh: number): void {
    for (const [owner, holder] of this.#holders.record.get(nodeid) ?? []) {
      if (holder.fh === fh) this.drop("record", nodeid, owner);
    }
  }

  /** Clears every lock; those who wait get EINTR. */
  clear(): void {
    for (const holders of Object.values(this.#holders)) {
      for (const owners of holders.values()) for (const { fd } of owners.values()) close(fd);
      holders.clear();
    }
    this.#count = 0;
    for (const waiter of this.#waiters) waiter.settle(-EINTR);
  }

  #attempt(kind: Kind, nodeid: number, fh: number, lock: LockRequest): number {
    const { owner, type, start, end, pid } = lock;
    const holder = this.#holders[kind].get(nodeid)?.get(owner) ?? this.#hold(kind, nodeid, lock);
    if (typeof holder === "number") return holder;
    holder.pid = pid;
    holder.fh = fh;
    const result =
      kind === "record" ? setRecordLock(holder.fd, type, start, end) : setFileLock(holder.fd, type);
    const endsAll = start === 0 && end === Number.POSITIVE_INFINITY;
    const isUnlocked = type === F_UNLCK && (kind === "file" || endsAll);
    if (isUnlocked) this.#forget(kind, nodeid, owner);
    return result;
  }

  /** Opens the file for a new owner, or returns 0 when there is nothing to unlock; or a negated errno. */
  #hold(kind: Kind, nodeid: number, { owner, type, pid }: LockRequest): Holder | number {
    if (type === F_UNLCK) return 0;
    if (this.#count >= this.#share.settings.maxHandles) return -ENOLCK;
    const fd = this.#open(kind, nodeid);
    if (fd < 0) return fd;
    const holder = { fd, fh: 0, pid };
    let owners = this.#holders[kind].get(nodeid);
    if (owners === undefined) {
      owners = new Map();
      this.#holders[kind].set(nodeid, owners);
    }
    owners.set(owner, holder);
    this.#count++;
    return holder;
  }

  #forget(kind: Kind, nodeid: number, owner: bigint): boolean {
    const owners = this.#holders[kind].get(nodeid);
    const holder = owners?.get(owner);
    if (owners === undefined || holder === undefined) return false;
    owners.delete(owner);
    if (owners.size === 0) this.#holders[kind].delete(nodeid);
    this.#count--;
    close(holder.fd);
    return true;
  }

  /** Only regular files are opened. A write lock on a range takes an open file that may be written. */
  #open(kind: Kind, nodeid: number): number {
    const share = this.#share;
    const inode = share.inodes.fd(nodeid);
    if (inode < 0) return inode;
    if (share.inodes.type(nodeid) !== S_IFREG) return -EBADF;
    if (kind === "record" && !share.settings.readOnly) {
      const fd = reopen(share.procFd, inode, O_RDWR);
      if (fd >= 0) return fd;
    }
    return reopen(share.procFd, inode, O_RDONLY);
  }

  /** The host says only that it is a lock of this process: it is clear whose if there is one other owner. */
  #pidOfOther(nodeid: number, owner: bigint): number {
    const owners = this.#holders.record.get(nodeid) ?? new Map<bigint, Holder>();
    const others = [...owners].filter(([other]) => other !== owner);
    return others.length === 1 ? (others[0]?.[1].pid ?? 0) : 0;
  }

  #wait(attempt: () => number, signal: AbortSignal): Promise<number> {
    return new Promise((resolve) => {
      const interrupt = () => waiter.settle(-EINTR);
      const settle = (result: number) => {
        this.#waiters.delete(waiter);
        signal.removeEventListener("abort", interrupt);
        if (this.#waiters.size === 0) clearTimeout(this.#timer);
        resolve(result);
      };
      const waiter: Waiter = { attempt, settle };
      this.#waiters.add(waiter);
      if (signal.aborted) interrupt();
      else signal.addEventListener("abort", interrupt);
      this.#pause = SOON_MS;
      this.#schedule();
    });
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#waiters.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#pause = Math.min(2 * this.#pause, LATE_MS);
      this.#retry();
      this.#schedule();
    }, this.#pause);
  }

  /** Those who have waited longest come first. */
  #retry(): void {
    if (this.#retrying) return;
    this.#retrying = true;
    for (const waiter of this.#waiters) {
      const result = waiter.attempt();
      if (result !== -EAGAIN) waiter.settle(result);
    }
    this.#retrying = false;
  }
}
