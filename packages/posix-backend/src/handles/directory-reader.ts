import { decodeName, EINVAL, ENFILE, SEEK_SET } from "@supermachine/fuse-protocol";
import { getdents64, lseek } from "../platform/host.js";
import { direntStruct } from "../syscalls/structs.js";
import { DirectoryCookies } from "./directory-cookies.js";
import type { PositionRing } from "./position-ring.js";

const BUFFER_SIZE = 32768;
const NOTHING = Buffer.alloc(0);
const NO_VIEW = new DataView(new ArrayBuffer(0));
/** All records end at multiples of it, which is at most this far from the end of their name. */
const ALIGNMENT = 8;
const DOT = 0x2e;
const at = direntStruct.offsets;

/**
 * Reads an open directory record by record. Positions are those of the host's file system, so a listing
 * stays right while names come and go. The buffer exists only while a listing is under way.
 */
export class DirectoryReader {
  readonly fd: number;
  readonly #isShared: boolean;
  readonly #cookies: DirectoryCookies;
  #bytes: Buffer = NOTHING;
  #view: DataView = NO_VIEW;
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

  /** Fields of the current record, set by {@link load}. Its name is `bytes[nameAt, nameEnd)`. */
  nameAt = 0;
  nameEnd = 0;
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

  /** The records, until the next {@link load}. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  /** The current name, decoded: not for every record of a listing. */
  get name(): string {
    return decodeName(this.#bytes, this.nameAt, this.nameEnd);
  }

  /** Whether the current name is `.` or `..`. */
  get isDot(): boolean {
    const length = this.nameEnd - this.nameAt;
    return this.#bytes[this.nameAt] === DOT && (length === 1 || this.isParent);
  }

  /** Whether the current name is `..`. */
  get isParent(): boolean {
    const { nameAt } = this;
    const bytes = this.#bytes;
    return this.nameEnd - nameAt === 2 && bytes[nameAt] === DOT && bytes[nameAt + 1] === DOT;
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
      this.#low = this.#view.getUint32(this.#record + at.d_off, true);
      this.#high = this.#view.getUint32(this.#record + at.d_off + 4, true);
      if (this.#cookies.skip === 0) break;
      // Delivered before, and only here again because cookies are shorter than positions.
      this.#cookies.skip--;
      if (!this.#cookies.isSamePrefix(this.#low, this.#high)) this.#cookies.skip = 0;
      this.#record += this.#view.getUint16(this.#record + at.d_reclen, true);
    }
    return this.#decode(this.#view, this.#record);
  }

  /** The current record is delivered: the next {@link load} moves on. */
  consume(): void {
    this.#record += this.#view.getUint16(this.#record + at.d_reclen, true);
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
    if (this.#bytes === NOTHING) this.#hold(Buffer.allocUnsafeSlow(BUFFER_SIZE));
    const length = getdents64(this.fd, this.#bytes);
    if (length <= 0) {
      this.#hold(NOTHING);
      return length;
    }
    this.#seekTo = undefined;
    this.#record = 0;
    this.#end = length;
    return 1;
  }

  #hold(bytes: Buffer): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  #decode(view: DataView, record: number): number {
    this.ino =
      (view.getUint32(record + at.d_ino + 4, true) & 0x1f_ffff) * 0x1_0000_0000 +
      view.getUint32(record + at.d_ino, true);
    this.type = view.getUint8(record + at.d_type);
    this.nameAt = record + direntStruct.size;
    const end = record + view.getUint16(record + at.d_reclen, true);
    let nameEnd = Math.max(this.nameAt, end - ALIGNMENT);
    while (view.getUint8(nameEnd) !== 0) nameEnd++;
    this.nameEnd = nameEnd;
    this.cookie = this.#cookies.encode(this.#low, this.#high);
    if (this.cookie < 0) return -ENFILE;
    this.#isLoaded = true;
    return 1;
  }
}
