import {
  encodeName,
  FUSE_EXPIRE_ONLY,
  FUSE_NOTIFY_DELETE,
  FUSE_NOTIFY_INC_EPOCH,
  FUSE_NOTIFY_INVAL_ENTRY,
  FUSE_NOTIFY_INVAL_INODE,
  FUSE_NOTIFY_POLL,
  FUSE_NOTIFY_STORE,
  fuse_notify_delete_out,
  fuse_notify_inval_entry_out,
  fuse_notify_inval_inode_out,
  fuse_notify_poll_wakeup_out,
  fuse_notify_store_out,
  fuse_out_header,
} from "@supermachine/fuse-protocol";

const HEADER = fuse_out_header.size;

function message(code: number, bodySize: number, tail: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER + bodySize + tail.length);
  fuse_out_header.encode({ len: bytes.length, error: code, unique: 0n }, bytes);
  bytes.set(tail, HEADER + bodySize);
  return bytes;
}

function terminated(name: string): Uint8Array {
  const bytes = encodeName(name);
  const result = new Uint8Array(bytes.length + 1);
  result.set(bytes);
  return result;
}

/**
 * Tells a client what changed behind its back: builds the messages that nobody asked for and hands
 * them to the transport. `/dev/fuse` takes them; virtio-fs in Linux has no way to.
 *
 * Each method resolves, or rejects with what the transport says: `ENOENT` when the client does not know
 * the node or name, which is no harm.
 */
export class Notifier {
  readonly #send: (message: Uint8Array) => Promise<void>;

  constructor(send: (message: Uint8Array) => Promise<void>) {
    this.#send = send;
  }

  /**
   * Drops cached attributes, and cached data from `offset` on (`length` 0: to the end of the file). A
   * negative `offset` drops the attributes only.
   */
  invalidateInode(nodeid: number, offset = 0, length = 0): Promise<void> {
    const fields = { ino: BigInt(nodeid), off: BigInt(offset), len: BigInt(length) };
    const bytes = message(
      FUSE_NOTIFY_INVAL_INODE,
      fuse_notify_inval_inode_out.size,
      new Uint8Array(),
    );
    fuse_notify_inval_inode_out.encode(fields, bytes, HEADER);
    return this.#send(bytes);
  }

  /** Drops a cached name, or with `expireOnly` just has it looked up again before its next use. */
  invalidateEntry(parent: number, name: string, expireOnly = false): Promise<void> {
    const tail = terminated(name);
    const bytes = message(FUSE_NOTIFY_INVAL_ENTRY, fuse_notify_inval_entry_out.size, tail);
    const flags = expireOnly ? FUSE_EXPIRE_ONLY : 0;
    const fields = { parent: BigInt(parent), namelen: tail.length - 1, flags };
    fuse_notify_inval_entry_out.encode(fields, bytes, HEADER);
    return this.#send(bytes);
  }

  /** A name is gone: also tells those who watch it with inotify(7). */
  deleted(parent: number, child: number, name: string): Promise<void> {
    const tail = terminated(name);
    const bytes = message(FUSE_NOTIFY_DELETE, fuse_notify_delete_out.size, tail);
    const ids = { parent: BigInt(parent), child: BigInt(child) };
    fuse_notify_delete_out.encode({ ...ids, namelen: tail.length - 1, padding: 0 }, bytes, HEADER);
    return this.#send(bytes);
  }

  /**
   * Drops every cached name, as it comes to be used again. Linux 6.16 has it; before, the promise rejects
   * with `EINVAL`.
   */
  invalidateAllEntries(): Promise<void> {
    return this.#send(message(FUSE_NOTIFY_INC_EPOCH, 0, new Uint8Array()));
  }

  /** Puts data into the client's page cache. */
  store(nodeid: number, offset: number, data: Uint8Array): Promise<void> {
    const bytes = message(FUSE_NOTIFY_STORE, fuse_notify_store_out.size, data);
    const fields = {
      nodeid: BigInt(nodeid),
      offset: BigInt(offset),
      size: data.length,
      padding: 0,
    };
    fuse_notify_store_out.encode(fields, bytes, HEADER);
    return this.#send(bytes);
  }

  /** Wakes those who poll a file. @param handle - The `notify` of the backend's `poll`. */
  poll(handle: number): Promise<void> {
    const bytes = message(FUSE_NOTIFY_POLL, fuse_notify_poll_wakeup_out.size, new Uint8Array());
    fuse_notify_poll_wakeup_out.encode({ kh: BigInt(handle) }, bytes, HEADER);
    return this.#send(bytes);
  }
}
