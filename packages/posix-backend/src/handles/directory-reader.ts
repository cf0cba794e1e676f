import { decodeName, EINVAL, ENFILE, SEEK_SET } from "@supermachine/fuse-protocol";
import { getdents64, lseek } from "../platform/host.js";
import { direntStruct } from "../syscalls/structs.js";
import { DirectoryCookies } from "./directory-cookies.js";
import type { PositionRing } from "./position-ring.js";

const BUFFER_SIZE = 32768;
const at = direntStruct.offsets;

/**
 * Reads an open directory record by record. Positions are those of the host's file system, so a listing
 * stays right while names come and go. The buffer exists only while a listing is under way.
 */
export class DirectoryReader {
  readonly fd: number;
  readonly #isShared: boolean;
  readonly #cookies: DirectoryCookies;
  #bytes: Buffer | undefined;
  #record = 0;
  #end = 0;
  /** The fields below are those of the record at `#record`. */
  #isLoaded = false;
  /** The cookie after which the record at `#record` comes. */
  #position = 0;
  /** The host's position there, in two halves, unless `#seekTo` is the position to go to first. */
  #low = 0;
  #high = 0;
  #seekTo: number | bigint | undefined;

  /** Fields of the current record, set by {@link load}. */
  name = "";
  ino = 0;
  /** `DT_...`. */
  type = 0;
  /** The cookie after this record. */
  cookie = 0;

  /**
   * @param isShared - Other threads read the same fd, and move its position.
   * @param makeRing - For the positions of file systems that need it; see {@link DirectoryCookies}.
   */
  constructor(fd: number, isShared: boolean, makeRing?: () => PositionRing | undefined) {
    this.fd = fd;
    this.#isShared = isShared;
    this.#cookies = new DirectoryCookies(fd, makeRing);
  }

  /** Continues after the record whose cookie is `cookie`; 0 or a negated errno. */
  seek(cookie: number): number {
    // Cookie 0 rewinds even at position 0, so that names made since then are seen.
    if (cookie === this.#position && cookie !== 0) return 0;
    const position = this.#cookies.decode(cookie);
    if (position === undefined) return -EINVAL;
    const result = lseek(this.fd, position, SEEK_SET);
    if (result < 0) return result;
    this.#seekTo = position;
    this.#record = 0;
    this.#end = 0;
    this.#isLoaded = false;
    this.#position = cookie;
    return 0;
  }

  /** Makes the next record current; 1, 0 at the end, or a negated errno. */
  load(): number {
    if (this.#isLoaded) return 1;
    for (;;) {
      const filled = this.#record < this.#end ? 1 : this.#fill();
      if (filled <= 0) return filled;
      const bytes = this.#bytes as Buffer;
      this.#low = bytes.readUInt32LE(this.#record + at.d_off);
      this.#high = bytes.readUInt32LE(this.#record + at.d_off + 4);
      if (this.#cookies.skip === 0) break;
      // Delivered before, and only here again because cookies are shorter than positions.
      this.#cookies.skip--;
      if (!this.#cookies.isSamePrefix(this.#low, this.#high)) this.#cookies.skip = 0;
      this.#record += bytes.readUInt16LE(this.#record + at.d_reclen);
    }
    return this.#decode(this.#bytes as Buffer, this.#record);
  }

  /** The current record is delivered: the next {@link load} moves on. */
  consume(): void {
    const bytes = this.#bytes as Buffer;
    this.#record += bytes.readUInt16LE(this.#record + at.d_reclen);
    this.#position = this.cookie;
    this.#isLoaded = false;
  }

  #fill(): number {
    if (this.#isShared) {
      // Where this thread stopped may not be where the fd is now.
      const reached = (BigInt(this.#high) << 32n) | BigInt(this.#low);
      const result = lseek(this.fd, this.#seekTo ?? BigInt.asIntN(64, reached), SEEK_SET);
      if (result < 0) return result;
    }
    this.#bytes ??= Buffer.allocUnsafeSlow(BUFFER_SIZE);
    const length = getdents64(this.fd, this.#bytes);
    if (length <= 0) {
      this.#bytes = undefined;
      return length;
    }
    this.#seekTo = undefined;
    this.#record = 0;
    this.#end = length;
    return 1;
  }

  #decode(bytes: Buffer, record: number): number {
    this.ino =
      (bytes.readUInt32LE(record + at.d_ino + 4) & 0x1f_ffff) * 0x1_0000_0000 +
      bytes.readUInt32LE(record + at.d_ino);
    this.type = bytes[record + at.d_type] as number;
    const nameAt = record + direntStruct.size;
    this.name = decodeName(bytes, nameAt, bytes.indexOf(0, nameAt));
    this.cookie = this.#cookies.encode(this.#low, this.#high);
    if (this.cookie < 0) return -ENFILE;
    this.#isLoaded = true;
    return 1;
  }
}
