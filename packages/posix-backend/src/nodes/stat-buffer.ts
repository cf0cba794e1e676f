import { FUSE_ATTR_DAX, S_IFMT, S_IFREG } from "@supermachine/fuse-protocol";
import type { Attr, StatxReply, StatxTime } from "@supermachine/fuse-server";
import { isSameInode, statx, statxAt } from "../platform/host.js";
import { statxStruct, statxTimestampStruct } from "../syscalls/structs.js";

const at = statxStruct.offsets;
const timeAt = statxTimestampStruct.offsets;

/** `struct statx` of the latest {@link read}, decoded field by field, so that nothing is allocated. */
export class StatBuffer {
  readonly #bytes = new Uint8Array(statxStruct.size);
  readonly #view = new DataView(this.#bytes.buffer);

  /** From what size on regular files are marked to be mapped rather than read. */
  daxMinFileSize = Number.POSITIVE_INFINITY;

  /** Reads the attributes of what `fd` holds; 0 or a negated errno. */
  read(fd: number): number {
    return statx(fd, this.#bytes);
  }

  /** Reads the attributes of a name below `dir`; a symbolic link in its place is not followed. */
  readName(dir: number, name: Uint8Array): number {
    return statxAt(dir, name, this.#bytes);
  }

  /** Whether a handle stands for this inode, whose number is that of the handle's. */
  isInodeOf(fd: number): boolean {
    return isSameInode(fd, this.#bytes);
  }

  /** Bytes. */
  get size(): number {
    return this.#unsigned(at.stx_size);
  }

  get mode(): number {
    return this.#view.getUint16(at.stx_mode, true);
  }

  get nlink(): number {
    return this.#view.getUint32(at.stx_nlink, true);
  }

  get uid(): number {
    return this.#view.getUint32(at.stx_uid, true);
  }

  get gid(): number {
    return this.#view.getUint32(at.stx_gid, true);
  }

  get deviceMajor(): number {
    return this.#view.getUint32(at.stx_dev_major, true);
  }

  get deviceMinor(): number {
    return this.#view.getUint32(at.stx_dev_minor, true);
  }

  /** Exact below 2^53. */
  get mountId(): number {
    return this.#unsigned(at.stx_mnt_id);
  }

  /**
   * The inode number as the guest sees it. Ids on the wire are below 2^53 here; some file systems
   * (overlayfs with xino) use the highest bits, which are dropped: this number is no identity.
   */
  get ino(): number {
    const high = this.#view.getUint32(at.stx_ino + 4, true) & 0x1f_ffff;
    return high * 0x1_0000_0000 + this.#view.getUint32(at.stx_ino, true);
  }

  /** The whole inode number, in two halves. */
  get inoLow(): number {
    return this.#view.getUint32(at.stx_ino, true);
  }

  get inoHigh(): number {
    return this.#view.getUint32(at.stx_ino + 4, true);
  }

  /** The time of birth, modulo 2^32 seconds; 0 where the file system keeps none. */
  get birthSeconds(): number {
    return this.#view.getUint32(at.stx_btime + timeAt.tv_sec, true);
  }

  get birthNanoseconds(): number {
    return this.#view.getUint32(at.stx_btime + timeAt.tv_nsec, true);
  }

  copyTo(attr: Attr): void {
    const view = this.#view;
    attr.ino = this.ino;
    attr.size = this.#unsigned(at.stx_size);
    attr.blocks = this.#unsigned(at.stx_blocks);
    attr.atime = this.#seconds(at.stx_atime);
    attr.mtime = this.#seconds(at.stx_mtime);
    attr.ctime = this.#seconds(at.stx_ctime);
    attr.atimensec = view.getUint32(at.stx_atime + timeAt.tv_nsec, true);
    attr.mtimensec = view.getUint32(at.stx_mtime + timeAt.tv_nsec, true);
    attr.ctimensec = view.getUint32(at.stx_ctime + timeAt.tv_nsec, true);
    attr.mode = this.mode;
    attr.nlink = this.nlink;
    attr.uid = this.uid;
    attr.gid = this.gid;
    attr.blksize = view.getUint32(at.stx_blksize, true);
    const mapped = attr.size >= this.daxMinFileSize && (attr.mode & S_IFMT) === S_IFREG;
    attr.flags = mapped ? FUSE_ATTR_DAX : 0;
    const major = view.getUint32(at.stx_rdev_major, true);
    const minor = view.getUint32(at.stx_rdev_minor, true);
    attr.rdev = ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
  }

  copyToStatx(reply: StatxReply): void {
    const view = this.#view;
    reply.mask = view.getUint32(at.stx_mask, true);
    reply.blksize = view.getUint32(at.stx_blksize, true);
    reply.nlink = this.nlink;
    reply.uid = this.uid;
    reply.gid = this.gid;
    reply.mode = this.mode;
    reply.ino = this.ino;
    reply.size = this.#unsigned(at.stx_size);
    reply.blocks = this.#unsigned(at.stx_blocks);
    reply.rdevMajor = view.getUint32(at.stx_rdev_major, true);
    reply.rdevMinor = view.getUint32(at.stx_rdev_minor, true);
    reply.devMajor = this.deviceMajor;
    reply.devMinor = this.deviceMinor;
    this.#time(at.stx_atime, reply.atime);
    this.#time(at.stx_btime, reply.btime);
    this.#time(at.stx_ctime, reply.ctime);
    this.#time(at.stx_mtime, reply.mtime);
  }

  #unsigned(offset: number): number {
    const view = this.#view;
    return view.getUint32(offset + 4, true) * 0x1_0000_0000 + view.getUint32(offset, true);
  }

  #seconds(timestamp: number): number {
    const offset = timestamp + timeAt.tv_sec;
    const view = this.#view;
    return view.getInt32(offset + 4, true) * 0x1_0000_0000 + view.getUint32(offset, true);
  }

  #time(timestamp: number, time: StatxTime): void {
    time.seconds = this.#seconds(timestamp);
    time.nanoseconds = this.#view.getUint32(timestamp + timeAt.tv_nsec, true);
  }
}
