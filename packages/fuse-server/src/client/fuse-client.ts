import {
  decodeName,
  EINTR,
  FUSE_BATCH_FORGET,
  FUSE_CREATE,
  FUSE_DESTROY,
  FUSE_FORGET,
  FUSE_FSYNC,
  FUSE_GETATTR,
  FUSE_GETATTR_FH,
  FUSE_GETXATTR,
  FUSE_INIT,
  FUSE_INIT_EXT,
  FUSE_INTERRUPT,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_LINK,
  FUSE_LISTXATTR,
  FUSE_LOOKUP,
  FUSE_MAX_PAGES,
  FUSE_MKDIR,
  FUSE_MKNOD,
  FUSE_OPEN,
  FUSE_OPENDIR,
  FUSE_READ,
  FUSE_READDIR,
  FUSE_READDIRPLUS,
  FUSE_READLINK,
  FUSE_RELEASE,
  FUSE_RELEASEDIR,
  FUSE_REMOVEXATTR,
  FUSE_RENAME2,
  FUSE_RMDIR,
  FUSE_ROOT_ID,
  FUSE_SETATTR,
  FUSE_SETXATTR,
  FUSE_SETXATTR_EXT,
  FUSE_STATFS,
  FUSE_SYMLINK,
  FUSE_UNLINK,
  FUSE_WRITE,
  fuse_batch_forget_in,
  fuse_create_in,
  fuse_entry_out,
  fuse_forget_in,
  fuse_forget_one,
  fuse_fsync_in,
  fuse_getattr_in,
  fuse_getxattr_in,
  fuse_init_in,
  fuse_init_out,
  fuse_interrupt_in,
  fuse_link_in,
  fuse_mkdir_in,
  fuse_mknod_in,
  fuse_open_in,
  fuse_out_header,
  fuse_read_in,
  fuse_release_in,
  fuse_rename2_in,
  fuse_setattr_in,
  fuse_setxattr_in,
  fuse_write_in,
} from "@supermachine/fuse-protocol";
import { FuseError } from "../error.js";
import type { Attr, EntryReply, OpenReply, StatfsReply } from "../reply.js";
import type { SetattrRequest } from "../request.js";
import { type Dirent, ReplyReader } from "./decode-reply.js";
import { type Credentials, RequestWriter } from "./request-writer.js";

/** Carries requests to a server and brings back their replies. */
export interface FuseChannel {
  /**
   * Sends a request. Resolves to the whole reply, header included; to `undefined` at once when
   * `unique` of the request is 0: then none comes.
   */
  exchange(request: Uint8Array, unique: bigint): Promise<Uint8Array | undefined>;
  /** Ends the connection. */
  close?(): void;
}

/** What a client says in INIT. */
export interface ClientOptions {
  /** Default: everything this package knows. */
  readonly minor?: number;
  /** INIT flags offered. */
  readonly flags?: bigint;
  readonly credentials?: Credentials;
}

/**
 * The other end of the protocol, as the kernel has it, for programs: each operation is a method that
 * resolves to the decoded reply or rejects with {@link FuseError}. It caches nothing and does not count
 * lookups.
 */
export class FuseClient implements Disposable {
  readonly #channel: FuseChannel;
  readonly #credentials: Credentials;
  #unique = 0n;

  constructor(channel: FuseChannel, options: Pick<ClientOptions, "credentials"> = {}) {
    this.#channel = channel;
    this.#credentials = options.credentials ?? { uid: 0, gid: 0, pid: 0 };
  }

  /** The `unique` of the last request, to interrupt it. */
  get lastUnique(): bigint {
    return this.#unique;
  }

  /** Ends the connection; requests under way are rejected. */
  close(): void {
    this.#channel.close?.();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Sends a request built by hand and resolves to the body of its reply. */
  async request(
    opcode: number,
    nodeid: number,
    writer = new RequestWriter(),
  ): Promise<ReplyReader> {
    // The lowest bit is the kernel's mark of interrupts.
    this.#unique += 2n;
    const unique = this.#unique;
    const message = writer.finish(opcode, unique, nodeid, this.#credentials);
    const reply = await this.#channel.exchange(message, unique);
    if (reply === undefined) throw new FuseError(EINTR, "the connection ended before the reply");
    const header = fuse_out_header.decode(reply);
    if (header.error !== 0) throw new FuseError(header.error);
    return new ReplyReader(reply.subarray(fuse_out_header.size));
  }

  /** Sends a request that has no reply. */
  async notice(opcode: number, nodeid: number, writer: RequestWriter): Promise<void> {
    await this.#channel.exchange(writer.finish(opcode, 0n, nodeid, this.#credentials), 0n);
  }

  async init(options: ClientOptions = {}): Promise<ReturnType<typeof fuse_init_out.decode>> {
    const flags = options.flags ?? FUSE_INIT_EXT | FUSE_MAX_PAGES | FUSE_SETXATTR_EXT;
    const writer = new RequestWriter().struct(fuse_init_in, {
      major: FUSE_KERNEL_VERSION,
      minor: options.minor ?? FUSE_KERNEL_MINOR_VERSION,
      max_readahead: 128 * 1024,
      flags: Number(flags & 0xffff_ffffn),
      flags2: Number(flags >> 32n),
      unused: new Uint8Array(44),
    });
    const reply = await this.request(FUSE_INIT, 0, writer);
    return fuse_init_out.decode(reply.bytes);
  }

  async destroy(): Promise<void> {
    await this.request(FUSE_DESTROY, 0);
  }

  async interrupt(unique: bigint): Promise<void> {
    await this.notice(FUSE_INTERRUPT, 0, new RequestWriter().struct(fuse_interrupt_in, { unique }));
  }

  async lookup(parent: number, name: string): Promise<EntryReply> {
    return (await this.request(FUSE_LOOKUP, parent, new RequestWriter().name(name))).entry();
  }

  /** Looks up each part of a relative path, starting at the root. */
  async walk(path: string): Promise<EntryReply> {
    let entry: EntryReply | undefined;
    for (const name of path.split("/").filter((part) => part !== "")) {
      entry = await this.lookup(entry?.nodeid ?? FUSE_ROOT_ID, name);
    }
    if (entry === undefined) throw new RangeError("the path is empty");
    return entry;
  }

  async forget(nodeid: number, count: number): Promise<void> {
    const writer = new RequestWriter().struct(fuse_forget_in, { nlookup: BigInt(count) });
    await this.notice(FUSE_FORGET, nodeid, writer);
  }

  async batchForget(counts: readonly (readonly [nodeid: number, count: number])[]): Promise<void> {
    const writer = new RequestWriter();
    writer.struct(fuse_batch_forget_in, { count: counts.length, dummy: 0 });
    for (const [nodeid, count] of counts) {
      writer.struct(fuse_forget_one, { nodeid: BigInt(nodeid), nlookup: BigInt(count) });
    }
    await this.notice(FUSE_BATCH_FORGET, 0, writer);
  }

  async getattr(nodeid: number, fh?: number): Promise<Attr> {
    const writer = new RequestWriter().struct(fuse_getattr_in, {
      getattr_flags: fh === undefined ? 0 : FUSE_GETATTR_FH,
      dummy: 0,
      fh: BigInt(fh ?? 0),
    });
    return (await this.request(FUSE_GETATTR, nodeid, writer)).attributes().attr;
  }

  async setattr(
    nodeid: number,
    request: Partial<SetattrRequest> & { valid: number },
  ): Promise<Attr> {
    const writer = new RequestWriter().struct(fuse_setattr_in, {
      valid: request.valid,
      padding: 0,
      fh: 0n,
      size: BigInt(request.size ?? 0),
      lock_owner: 0n,
      atime: BigInt.asUintN(64, BigInt(request.atime ?? 0)),
      mtime: BigInt.asUintN(64, BigInt(request.mtime ?? 0)),
      ctime: BigInt.asUintN(64, BigInt(request.ctime ?? 0)),
      atimensec: request.atimensec ?? 0,
      mtimensec: request.mtimensec ?? 0,
      ctimensec: request.ctimensec ?? 0,
      mode: request.mode ?? 0,
      unused4: 0,
      uid: request.uid ?? 0,
      gid: request.gid ?? 0,
      unused5: 0,
    });
    return (await this.request(FUSE_SETATTR, nodeid, writer)).attributes().attr;
  }

  async readlink(nodeid: number): Promise<string> {
    return decodeName((await this.request(FUSE_READLINK, nodeid)).bytes);
  }

  async symlink(parent: number, name: string, target: string): Promise<EntryReply> {
    const writer = new RequestWriter().name(name).name(target);
    return (await this.request(FUSE_SYMLINK, parent, writer)).entry();
  }

  async mknod(parent: number, name: string, mode: number, rdev = 0): Promise<EntryReply> {
    const fields = { mode, rdev, umask: 0, padding: 0 };
    const writer = new RequestWriter().struct(fuse_mknod_in, fields).name(name);
    return (await this.request(FUSE_MKNOD, parent, writer)).entry();
  }

  async mkdir(parent: number, name: string, mode = 0o755): Promise<EntryReply> {
    const writer = new RequestWriter().struct(fuse_mkdir_in, { mode, umask: 0 }).name(name);
    return (await this.request(FUSE_MKDIR, parent, writer)).entry();
  }

  async unlink(parent: number, name: string): Promise<void> {
    await this.request(FUSE_UNLINK, parent, new RequestWriter().name(name));
  }

  async rmdir(parent: number, name: string): Promise<void> {
    await this.request(FUSE_RMDIR, parent, new RequestWriter().name(name));
  }

  async rename(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags = 0,
  ): Promise<void> {
    const fields = { newdir: BigInt(newParent), flags, padding: 0 };
    const writer = new RequestWriter().struct(fuse_rename2_in, fields).name(name).name(newName);
    await this.request(FUSE_RENAME2, parent, writer);
  }

  async link(nodeid: number, newParent: number, newName: string): Promise<EntryReply> {
    const writer = new RequestWriter().struct(fuse_link_in, { oldnodeid: BigInt(nodeid) });
    return (await this.request(FUSE_LINK, newParent, writer.name(newName))).entry();
  }

  async open(nodeid: number, flags = 0): Promise<OpenReply> {
    const writer = new RequestWriter().struct(fuse_open_in, { flags, open_flags: 0 });
    return (await this.request(FUSE_OPEN, nodeid, writer)).open();
  }

  async create(
    parent: number,
    name: string,
    mode = 0o644,
    flags = 0,
  ): Promise<{ entry: EntryReply; opened: OpenReply }> {
    const fields = { flags, mode, umask: 0, open_flags: 0 };
    const writer = new RequestWriter().struct(fuse_create_in, fields).name(name);
    const reply = await this.request(FUSE_CREATE, parent, writer);
    return { entry: reply.entry(), opened: reply.open(fuse_entry_out.size) };
  }

  /** Up to `size` bytes; fewer only at the end of the file. */
  async read(nodeid: number, fh: number, offset: number, size: number): Promise<Uint8Array> {
    const writer = new RequestWriter().struct(fuse_read_in, readFields(fh, offset, size));
    return (await this.request(FUSE_READ, nodeid, writer)).bytes;
  }

  /** Resolves to the number of bytes written. */
  async write(nodeid: number, fh: number, offset: number, data: Uint8Array): Promise<number> {
    const { read_flags, ...fields } = readFields(fh, offset, data.length);
    const writer = new RequestWriter().struct(fuse_write_in, {
      ...fields,
      write_flags: read_flags,
    });
    return (await this.request(FUSE_WRITE, nodeid, writer.data(data))).u32(0);
  }

  async release(nodeid: number, fh: number): Promise<void> {
    const writer = new RequestWriter().struct(fuse_release_in, releaseFields(fh));
    await this.request(FUSE_RELEASE, nodeid, writer);
  }

  async fsync(nodeid: number, fh: number): Promise<void> {
    const fields = { fh: BigInt(fh), fsync_flags: 0, padding: 0 };
    await this.request(FUSE_FSYNC, nodeid, new RequestWriter().struct(fuse_fsync_in, fields));
  }

  async opendir(nodeid: number): Promise<OpenReply> {
    const writer = new RequestWriter().struct(fuse_open_in, { flags: 0, open_flags: 0 });
    return (await this.request(FUSE_OPENDIR, nodeid, writer)).open();
  }

  /** One reply's worth of records after `offset`; none at the end of the directory. */
  async readdir(nodeid: number, fh: number, offset: number, size = 4096): Promise<Dirent[]> {
    const writer = new RequestWriter().struct(fuse_read_in, readFields(fh, offset, size));
    return (await this.request(FUSE_READDIR, nodeid, writer)).dirents(false);
  }

  async readdirplus(nodeid: number, fh: number, offset: number, size = 4096): Promise<Dirent[]> {
    const writer = new RequestWriter().struct(fuse_read_in, readFields(fh, offset, size));
    return (await this.request(FUSE_READDIRPLUS, nodeid, writer)).dirents(true);
  }

  async releasedir(nodeid: number, fh: number): Promise<void> {
    const writer = new RequestWriter().struct(fuse_release_in, releaseFields(fh));
    await this.request(FUSE_RELEASEDIR, nodeid, writer);
  }

  async statfs(nodeid: number = FUSE_ROOT_ID): Promise<StatfsReply> {
    return (await this.request(FUSE_STATFS, nodeid)).statfs();
  }

  async setxattr(nodeid: number, name: string, value: Uint8Array, flags = 0): Promise<void> {
    const fields = { size: value.length, flags, setxattr_flags: 0, padding: 0 };
    const writer = new RequestWriter().struct(fuse_setxattr_in, fields).name(name).data(value);
    await this.request(FUSE_SETXATTR, nodeid, writer);
  }

  async getxattr(nodeid: number, name: string, size = 65536): Promise<Uint8Array> {
    const writer = new RequestWriter().struct(fuse_getxattr_in, { size, padding: 0 }).name(name);
    return (await this.request(FUSE_GETXATTR, nodeid, writer)).bytes;
  }

  async listxattr(nodeid: number): Promise<string[]> {
    const writer = new RequestWriter().struct(fuse_getxattr_in, { size: 65536, padding: 0 });
    const names = decodeName((await this.request(FUSE_LISTXATTR, nodeid, writer)).bytes);
    return names.split("\0").filter((name) => name !== "");
  }

  async removexattr(nodeid: number, name: string): Promise<void> {
    await this.request(FUSE_REMOVEXATTR, nodeid, new RequestWriter().name(name));
  }
}

function readFields(fh: number, offset: number, size: number) {
  return {
    fh: BigInt(fh),
    offset: BigInt(offset),
    size,
    read_flags: 0,
    lock_owner: 0n,
    flags: 0,
    padding: 0,
  };
}

function releaseFields(fh: number) {
  return { fh: BigInt(fh), flags: 0, release_flags: 0, lock_owner: 0n };
}
