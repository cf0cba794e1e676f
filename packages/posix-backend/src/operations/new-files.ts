/** What a file needs still that was just made: bits that the umask took, and where that comes late its owner. */
import { S_IFDIR, S_IFLNK, S_IFMT, S_ISGID } from "@supermachine/fuse-protocol";
import type { RequestContext } from "@supermachine/fuse-server";
import { StatBuffer } from "../nodes/stat-buffer.js";
import { chmodLink, chown, close, openAt } from "../platform/host.js";
import type { Share } from "../share.js";
import { O_PATH } from "../syscalls/constants.js";
import { hasDefaultAcl } from "./access-control-list.js";

const S_IXGRP = 0o010;
const S_IALLUGO = 0o7777;
const S_IRWXUGO = 0o777;
/** Milliseconds by which the clock of a file system may be behind. */
const CLOCK_TOLERANCE = 100;

/**
 * The mode to make a file with. A client that leaves the umask to the host means it to hold only where the
 * directory has no default access control list, as umask(2) says.
 */
export function maskedMode(share: Share, parentFd: number, mode: number, umask: number): number {
  return !share.appliesUmask || hasDefaultAcl(parentFd) ? mode : mode & ~(umask & S_IRWXUGO);
}

/** The mode for the system call itself: set-id bits wait for the owner that they are meant for. */
export function modeToMakeWith(share: Share, mode: number): number {
  return mode & (share.caller.givesFiles ? S_IALLUGO & ~0o6000 : S_IALLUGO);
}

/**
 * Whether `share.stat`, read from a handle of the name that a file was made under, is that file: someone on the host
 * may have put another one there.
 *
 * @param since - `Date.now()` before it was made.
 */
export function isJustMade(share: Share, type: number, owner: number, since: number): boolean {
  const { stat, caller } = share;
  if ((stat.mode & S_IFMT) !== type) return false;
  if (caller.enabled) return stat.uid === owner;
  if (!caller.givesFiles) return true;
  const birth = stat.birthSeconds * 1000 + stat.birthNanoseconds / 1_000_000;
  return stat.uid === caller.ownUid && birth >= since - CLOCK_TOLERANCE;
}

/**
 * Completes the new file that `fd` stands for and `share.stat` describes; 0, with `share.stat` up to date, or a negated
 * errno.
 *
 * @param mode - As {@link maskedMode} gave it.
 */
export function complete(
  share: Share,
  ctx: RequestContext,
  fd: number,
  parentFd: number,
  mode: number,
): number {
  const { stat, caller } = share;
  const before = stat.mode & S_IALLUGO;
  const lost = mode & share.hostUmask & ~before & S_IRWXUGO;
  let wanted = lost !== 0 && hasDefaultAcl(parentFd) ? before : before | lost;
  if (caller.givesFiles) {
    const inherited = give(share, ctx, fd, parentFd);
    if (inherited < 0) return inherited;
    wanted |= (mode & 0o6000) | inherited;
    const isDirectory = (stat.mode & S_IFMT) === S_IFDIR;
    const isGroupProgram = (wanted & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP);
    // As inode_init_owner() of Linux: nobody gives a program a group that is not theirs (CVE-2022-0358).
    if (!isDirectory && isGroupProgram && ctx.uid !== 0 && !caller.isMember(ctx, stat.gid)) {
      wanted &= ~S_ISGID;
    }
  }
  const isLink = (stat.mode & S_IFMT) === S_IFLNK;
  if (wanted !== (stat.mode & S_IALLUGO) && !isLink) {
    const failure = chmodLink(share.procFd, fd, wanted);
    if (failure < 0) return failure;
  }
  return wanted === before && !caller.givesFiles ? 0 : stat.read(fd);
}

const parentStat = new StatBuffer();

/**
 * Makes the caller the owner, where a system has no ids of single threads to make files with. The group is that of
 * the directory where its set-group-id bit is set, as in Linux: directories in it inherit that bit, which is returned.
 */
function give(share: Share, ctx: RequestContext, fd: number, parentFd: number): number {
  const failure = parentStat.read(parentFd);
  if (failure < 0) return failure;
  const inherits = (parentStat.mode & S_ISGID) !== 0;
  const uid = share.caller.hostUid(ctx.uid);
  const gid = inherits ? parentStat.gid : share.caller.hostGid(ctx.gid);
  if (share.stat.uid !== uid || share.stat.gid !== gid) {
    const result = chown(fd, uid, gid);
    if (result < 0) return result;
  }
  const again = share.stat.read(fd);
  if (again < 0) return again;
  return inherits && (share.stat.mode & S_IFMT) === S_IFDIR ? S_ISGID : 0;
}

/** Gives the symbolic link `share.name` that was just made below `parentFd` to the caller. */
export function giveLink(share: Share, ctx: RequestContext, parentFd: number, since: number): void {
  if (!share.caller.givesFiles) return;
  const fd = openAt(parentFd, share.name.bytes, O_PATH);
  if (fd < 0) return;
  if (share.stat.read(fd) === 0 && isJustMade(share, S_IFLNK, ctx.uid, since)) {
    complete(share, ctx, fd, parentFd, share.stat.mode);
  }
  close(fd);
}
