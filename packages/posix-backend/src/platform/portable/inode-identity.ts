import { S_IFMT } from "@supermachine/fuse-protocol";
import { statxStruct, statxTimestampStruct } from "../../syscalls/structs.js";

const at = statxStruct.offsets;
const birthSecondsAt = at.stx_btime + statxTimestampStruct.offsets.tv_sec;
const birthNanosecondsAt = at.stx_btime + statxTimestampStruct.offsets.tv_nsec;

/**
 * What an inode is told from others by: its number, and since that goes to a new file once the old one is gone,
 * its type and time of birth (zeros where the file system keeps none).
 */
export interface InodeIdentity {
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly inoLow: number;
  readonly inoHigh: number;
  /** The `S_IFMT` bits of its mode. */
  readonly type: number;
  readonly birthSeconds: number;
  readonly birthNanoseconds: number;
}

/** @param statx - Holds a `struct statx`. */
export function identityIn(statx: DataView): InodeIdentity {
  return {
    deviceMajor: statx.getUint32(at.stx_dev_major, true),
    deviceMinor: statx.getUint32(at.stx_dev_minor, true),
    inoLow: statx.getUint32(at.stx_ino, true),
    inoHigh: statx.getUint32(at.stx_ino + 4, true),
    type: typeIn(statx),
    birthSeconds: statx.getUint32(birthSecondsAt, true),
    birthNanoseconds: statx.getUint32(birthNanosecondsAt, true),
  };
}

export function typeIn(statx: DataView): number {
  return statx.getUint16(at.stx_mode, true) & S_IFMT;
}

/** How many names the inode has. */
export function linksIn(statx: DataView): number {
  return statx.getUint32(at.stx_nlink, true);
}

/** Compares without making an object of the other side: for every lookup. */
export function isIdentityIn(statx: DataView, identity: InodeIdentity): boolean {
  return (
    statx.getUint32(at.stx_ino, true) === identity.inoLow &&
    statx.getUint32(at.stx_ino + 4, true) === identity.inoHigh &&
    statx.getUint32(at.stx_dev_minor, true) === identity.deviceMinor &&
    statx.getUint32(at.stx_dev_major, true) === identity.deviceMajor &&
    typeIn(statx) === identity.type &&
    statx.getUint32(birthSecondsAt, true) === identity.birthSeconds &&
    statx.getUint32(birthNanosecondsAt, true) === identity.birthNanoseconds
  );
}

/** A number to look inodes up by, which two may share. */
export function inodeKeyIn(statx: DataView): number {
  return keyOf(statx.getUint32(at.stx_ino, true), statx.getUint32(at.stx_ino + 4, true));
}

export function inodeKeyOf(identity: InodeIdentity): number {
  return keyOf(identity.inoLow, identity.inoHigh);
}

function keyOf(inoLow: number, inoHigh: number): number {
  return inoHigh * 0x1_0000_0000 + inoLow;
}
