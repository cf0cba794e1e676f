/**
 * The system calls of this package where there are neither O_PATH handles nor /proc, made of what POSIX has. A handle
 * is what {@link Holding} makes of it.
 */
import {
  EINVAL,
  ENODATA,
  EOPNOTSUPP,
  EPERM,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  S_IFLNK,
} from "@supermachine/fuse-protocol";
import { O_PATH, O_TMPFILE } from "../../syscalls/constants.js";
import { statxStruct } from "../../syscalls/structs.js";
import type * as linux from "../linux-calls.js";
import { walkBeneath } from "./beneath-walk.js";
import { allocate, copyRange } from "./file-ranges.js";
import { Holding } from "./holding.js";
import { typeIn } from "./inode-identity.js";
import type { PosixCalls } from "./posix-calls.js";

/** The largest page of any machine that this runs on: memory is given back in multiples of it. */
const PAGE = 16_384n;
const dot = Buffer.from(".\0");

export function portableCalls(calls: PosixCalls): typeof linux {
  const holding = new Holding(calls);
  /** For what looks a name up: an errno of {@link Holding.directory} ends it. */
  const below = (dir: number, call: (dir: number) => number): number => {
    const directory = holding.directory(dir);
    return directory < 0 ? directory : call(directory);
  };
  const statx = new Uint8Array(statxStruct.size);
  const statxView = new DataView(statx.buffer);

  return {
    openPath: (path) => holding.openRoot(path),
    openAt(dir, name, flags, mode = 0) {
      const bytes = typeof name === "string" ? Buffer.from(`${name}\0`) : name;
      if ((flags & O_PATH) !== 0) return holding.open(dir, bytes);
      if ((flags & O_TMPFILE) === O_TMPFILE) return -EOPNOTSUPP;
      return below(dir, (directory) => calls.openAt(directory, bytes, flags, mode));
    },
    openMade: (_procFd, fd, dir, name) => holding.openMade(fd, dir, name),
    reopen: (_procFd, fd, flags) =>
      (flags & O_PATH) !== 0 ? holding.openMade(fd, fd, undefined) : holding.reopen(fd, flags),
    resolveAt: (dir, path) => walkBeneath(calls, holding, dir, path),
    readMagicLink: (_procFd, fd, out) => below(fd, (directory) => calls.pathOf(directory, out)),
    isSameInode: (fd, attributes) => holding.isSame(fd, attributes),
    close: (fd) => holding.close(fd),
    duplicate: calls.duplicate,
    makeRoomForDescriptors() {},

    statx: (fd, out) => holding.stat(fd, out),
    statxAt: (dir, name, out) =>
      below(dir, (directory) => {
        const failure = calls.fstatAt(directory, name, out);
        if (failure === 0) holding.note(out, dir, name);
        return failure;
      }),
    access(fd, mode) {
      const isHeld = holding.directory(fd) >= 0;
      if (isHeld && holding.isDirectory(fd)) return calls.accessAt(fd, dot, mode);
      const place = holding.placeOf(fd);
      return typeof place === "number"
        ? place
        : calls.accessAt(place.directory.fd, place.name, mode);
    },
    fchmod: calls.fchmod,
    chmodLink: (_procFd, fd, mode) =>
      holding.either(
        fd,
        (held) => calls.fchmod(held, mode),
        ({ directory, name }) => {
          const failure = calls.fstatAt(directory.fd, name, statx);
          if (failure < 0) return failure;
          // As Linux has it.
          if (typeIn(statxView) === S_IFLNK) return -EOPNOTSUPP;
          return calls.fchmodAt(directory.fd, name, mode);
        },
      ),
    chown: (fd, uid, gid) =>
      holding.either(
        fd,
        (held) => calls.fchown(held, uid, gid),
        ({ directory, name }) => calls.fchownAt(directory.fd, name, uid, gid),
      ),
    utimens: (fd, times) =>
      holding.either(
        fd,
        (held) => calls.futimens(held, times),
        ({ directory, name }) => calls.utimensAt(directory.fd, name, times),
      ),
    fstatfs: (fd, out) =>
      holding.either(
        fd,
        (held) => calls.fstatfs(held, out),
        ({ directory }) => calls.fstatfs(directory.fd, out),
      ),
    readlink: (fd, out) =>
      holding.either(
        fd,
        () => -EINVAL,
        ({ directory, name }) => calls.readlinkAt(directory.fd, name, out),
      ),

    mkdirAt: (dir, name, mode) => below(dir, (fd) => calls.makeDirectoryAt(fd, name, mode)),
    mknodAt: (dir, name, mode, device) =>
      below(dir, (fd) => calls.makeNodeAt(fd, name, mode, device)),
    symlinkAt: (target, dir, name) => below(dir, (fd) => calls.symlinkAt(target, fd, name)),
    linkAt: (_procFd, fd, dir, name) =>
      below(dir, (directory) => {
        const place = holding.placeOf(fd);
        if (typeof place === "number") return place;
        return calls.linkAt(place.directory.fd, place.name, directory, name);
      }),
    unlinkAt: (dir, name) => below(dir, (fd) => calls.unlinkAt(fd, name)),
    rmdirAt: (dir, name) => below(dir, (fd) => calls.rmdirAt(fd, name)),
    renameAt: (oldDir, oldName, newDir, newName, flags) =>
      below(oldDir, (from) =>
        below(newDir, (to) => {
          if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) !== 0) return -EINVAL;
          const result = calls.renameAt(from, oldName, to, newName, flags);
          if (result < 0) return result;
          holding.find(newDir, newName);
          if ((flags & RENAME_EXCHANGE) !== 0) holding.find(oldDir, oldName);
          return 0;
        }),
      ),

    getdents64: calls.getdents64,
    lseek: calls.lseek,
    pread: calls.pread,
    pwrite: calls.pwrite,
    preadv: calls.preadv,
    // Whether it has something cached, only Linux tells.
    preadvCached: () => -EOPNOTSUPP,
    pwritev: calls.pwritev,
    ftruncate: calls.ftruncate,
    fallocate: (fd, mode, offset, length) => allocate(calls, fd, mode, offset, length),
    copyFileRange: (from, fromOffset, to, toOffset, length) =>
      copyRange(calls, from, fromOffset, to, toOffset, length),
    closeAside: calls.closeAside,
    preadvAside: calls.preadvAside,
    fsyncAside: calls.fsyncAside,
    fdatasyncAside: calls.fdatasyncAside,
    syncfsAside: calls.syncfsAside,
    fallocateAside: async (fd, mode, offset, length) => allocate(calls, fd, mode, offset, length),
    copyFileRangeAside: async (from, fromOffset, to, toOffset, length) =>
      copyRange(calls, from, fromOffset, to, toOffset, length),

    // There are no calls for those of a name. Linux has no `user.*` attributes of such files either.
    setxattr: (fd, name, value, flags) =>
      holding.either(
        fd,
        (held) => calls.fsetxattr(held, name, value, flags),
        () => -EPERM,
      ),
    getxattr: (fd, name, out) =>
      holding.either(
        fd,
        (held) => calls.fgetxattr(held, name, out),
        () => -ENODATA,
      ),
    listxattr: (fd, out) =>
      holding.either(
        fd,
        (held) => calls.flistxattr(held, out),
        () => 0,
      ),
    removexattr: (fd, name) =>
      holding.either(
        fd,
        (held) => calls.fremovexattr(held, name),
        () => -EPERM,
      ),

    setRecordLock: calls.setRecordLock,
    findRecordLock: calls.findRecordLock,
    setFileLock: calls.setFileLock,

    getrlimit: calls.getrlimit,
    yieldProcessor: () => calls.yieldProcessor(),
    discardPages(address, words) {
      words.fill(0);
      const first = (address + PAGE - 1n) & -PAGE;
      const end = (address + BigInt(words.byteLength)) & -PAGE;
      if (first < end) calls.freePages(first, Number(end - first));
    },
  };
}
