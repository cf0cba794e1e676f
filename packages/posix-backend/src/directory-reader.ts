import { decodeName, EINVAL, SEEK_SET } from "@supermachine/fuse-protocol";
import { DirectoryCookies } from "./directory-cookies.js";
import { getdents64, lseek } from "./syscalls/linux.js";
import { direntStruct } from "./syscalls/structs.js";

const BUFFER_SIZE = 32768;
const at = direntStruct.offsets;

/**
 * Reads an open directory record by record. Positions are those of the host's file system, so a listing
 * stays right while names come and go. The buffer exists only while a listing is under way.
 */
export class DirectoryReader {
  readonly fd: number;
  readonly #isShared: boolean;
  readonly #cookies = new DirectoryCookies();
  #bytes: Buffer | undefined;
  #record = 0;
  #end = 0;
  /** The cookie after which the record at `#record` comes. */
  #position = 0;

  /** Fields of the current record, set by {@link load}. */
  name = "";
  ino = 0;
  /** `DT_...`. */
  type = 0;
  /** The cookie after this record. */
  cookie = 0;

  /** @param isShared - Other threads read the same fd, and move its position. */
  constructor(fd: number, isShared: boolean) {
    this.fd = fd;
    this.#isShared = isShared;
  }

  /** Continues after the record whose cookie is `cookie`; 0 or a negated errno. */
  seek(cookie: number): number {
    // Cookie 0 rewinds even at position 0, so that names made since then are seen.
    if (cookie === this.#position && cookie !== 0) return 0;
    const position = this.#cookies.decode(cookie);
    if (position === undefined) return -EINVAL;
    const result = lseek(this.fd, position, SEEK_SET);
    if (result < 0) return result;
    this.#record = 0;
    this.#end = 0;
    this.#position = cookie;
    return 0;
  }

  /** Makes the next record current; 1, 0 at the end, or a negated errno. */
  load(): number {
    if (this.#record >= this.#end) {
      if (this.#isShared) {
        // Where this thread stopped may not be where the fd is now.
        const position = this.#cookies.decode(this.#position);
        const result = position === undefined ? -EINVAL : lseek(this.fd, position, SEEK_SET);
        if (result < 0) return result;
      }
      this.#bytes ??= Buffer.allocUnsafeSlow(BUFFER_SIZE);
      const length = getdents64(this.fd, this.#bytes);
      if (length <= 0) {
        this.#bytes = undefined;
        return length;
      }
      this.#record = 0;
      this.#end = length;
    }
    const bytes = this.#bytes as Buffer;
    const record = this.#record;
    this.ino =
      (bytes.readUInt32LE(record + at.d_ino + 4) & 0x1f_ffff) * 0x1_0000_0000 +
      bytes.readUInt32LE(record + at.d_ino);
    this.type = bytes[record + at.d_type] as number;
    const nameAt = record + direntStruct.size;
    this.name = decodeName(bytes, nameAt, bytes.indexOf(0, nameAt));
    this.cookie = this.#cookies.encode(
      bytes.readUInt32LE(record + at.d_off),
      bytes.readUInt32LE(record + at.d_off + 4),
    );
    return 1;
  }

  /** The current record is delivered: the next {@link load} moves on. */
  consume(): void {
    const bytes = this.#bytes as Buffer;
    this.#record += bytes.readUInt16LE(this.#record + at.d_reclen);
    this.#position = this.cookie;
  }
}
