import {
  alignRecord,
  decodeName,
  fuse_attr,
  fuse_attr_out,
  fuse_dirent,
  fuse_direntplus,
  fuse_entry_out,
  fuse_kstatfs,
  fuse_open_out,
} from "@supermachine/fuse-protocol";
import { FuseServerError } from "../error.js";
import { type Attr, AttrReply, EntryReply, OpenReply, StatfsReply } from "../reply.js";

/** One record of a directory listing. */
export interface Dirent {
  readonly name: string;
  readonly ino: number;
  /** `DT_...`. */
  readonly type: number;
  /** Where a listing continues after it. */
  readonly offset: number;
  /** With READDIRPLUS. */
  readonly entry?: EntryReply;
}

/** The body of a reply; every read is checked against its end. */
export class ReplyReader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Throws {@link FuseServerError} `ERR_FUSE_SHORT_REPLY` when fewer than `size` bytes are left. */
  need(at: number, size: number): void {
    if (at + size > this.bytes.length) {
      const has = `${this.bytes.length} bytes, not ${at + size}`;
      throw new FuseServerError("ERR_FUSE_SHORT_REPLY", `the reply body has ${has}`);
    }
  }

  u32(at: number): number {
    this.need(at, 4);
    return this.#view.getUint32(at, true);
  }

  integer64(at: number): number {
    this.need(at, 8);
    return Number(this.#view.getBigInt64(at, true));
  }

  #attr(at: number, into: Attr): void {
    const o = fuse_attr.offsets;
    into.ino = this.integer64(at + o.ino);
    into.size = this.integer64(at + o.size);
    into.blocks = this.integer64(at + o.blocks);
    into.atime = this.integer64(at + o.atime);
    into.mtime = this.integer64(at + o.mtime);
    into.ctime = this.integer64(at + o.ctime);
    into.atimensec = this.u32(at + o.atimensec);
    into.mtimensec = this.u32(at + o.mtimensec);
    into.ctimensec = this.u32(at + o.ctimensec);
    into.mode = this.u32(at + o.mode);
    into.nlink = this.u32(at + o.nlink);
    into.uid = this.u32(at + o.uid);
    into.gid = this.u32(at + o.gid);
    into.rdev = this.u32(at + o.rdev);
    into.blksize = this.u32(at + o.blksize);
    into.flags = this.u32(at + o.flags);
  }

  entry(at = 0): EntryReply {
    const o = fuse_entry_out.offsets;
    const entry = new EntryReply();
    entry.nodeid = this.integer64(at + o.nodeid);
    entry.generation = this.integer64(at + o.generation);
    entry.entryValidMs = this.#validity(at + o.entry_valid, at + o.entry_valid_nsec);
    entry.attrValidMs = this.#validity(at + o.attr_valid, at + o.attr_valid_nsec);
    this.#attr(at + o.attr, entry.attr);
    return entry;
  }

  #validity(secondsAt: number, nanosecondsAt: number): number {
    return this.integer64(secondsAt) * 1000 + this.u32(nanosecondsAt) / 1e6;
  }

  attributes(): AttrReply {
    const o = fuse_attr_out.offsets;
    const reply = new AttrReply();
    reply.attrValidMs = this.#validity(o.attr_valid, o.attr_valid_nsec);
    this.#attr(o.attr, reply.attr);
    return reply;
  }

  open(at = 0): OpenReply {
    const o = fuse_open_out.offsets;
    const reply = new OpenReply();
    reply.fh = this.integer64(at + o.fh);
    reply.flags = this.u32(at + o.open_flags);
    return reply;
  }

  statfs(): StatfsReply {
    const o = fuse_kstatfs.offsets;
    const reply = new StatfsReply();
    reply.blocks = this.integer64(o.blocks);
    reply.bfree = this.integer64(o.bfree);
    reply.bavail = this.integer64(o.bavail);
    reply.files = this.integer64(o.files);
    reply.ffree = this.integer64(o.ffree);
    reply.bsize = this.u32(o.bsize);
    reply.namelen = this.u32(o.namelen);
    reply.frsize = this.u32(o.frsize);
    return reply;
  }

  dirents(plus: boolean): Dirent[] {
    const found: Dirent[] = [];
    const prefix = plus ? fuse_direntplus.offsets.dirent : 0;
    for (let at = 0; at < this.bytes.length; ) {
      const dirent = at + prefix;
      const o = fuse_dirent.offsets;
      const nameBytes = this.u32(dirent + o.namelen);
      const nameAt = dirent + fuse_dirent.size;
      this.need(nameAt, nameBytes);
      found.push({
        name: decodeName(this.bytes, nameAt, nameAt + nameBytes),
        ino: this.integer64(dirent + o.ino),
        type: this.u32(dirent + o.type),
        offset: this.integer64(dirent + o.off),
        ...(plus && { entry: this.entry(at) }),
      });
      at += alignRecord(prefix + fuse_dirent.size + nameBytes);
    }
    return found;
  }
}
