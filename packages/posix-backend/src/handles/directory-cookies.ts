import { fstatfs } from "../platform/host.js";
import { statfsStruct } from "../syscalls/structs.js";
import { PositionRing } from "./position-ring.js";

/** Cookies from here on do not stand for themselves. */
const FIRST = 2 ** 52;
/** Positions below 2^52, by their upper half. */
const SMALL_HIGH = 0x10_0000;

const EXT4_SUPER_MAGIC = 0xef53n;
/** Of a hashed position, these lowest bits are left out of the cookie, and the count of records takes 3. */
const DROPPED_BITS = 14;
const COUNT_BITS = 3;
const MAX_COUNT = 2 ** COUNT_BITS - 1;

/**
 * Directory positions of the host (`d_off`, any 64-bit number) as cookies below 2^53, for one open directory.
 * Small positions stand for themselves.
 *
 * On ext4 positions are hashes of 63 bits, in which the directory is ordered. A cookie holds the upper 49,
 * and how many records of the same 49 come before it: in a directory of a million names two agree in them
 * with a probability of one in a thousand. So any thread, and a restored backend, can continue at it.
 *
 * On other file systems with large positions (NFS, CephFS, overlayfs) a cookie is the number of a
 * remembered position.
 */
export class DirectoryCookies {
  readonly #fd: number;
  readonly #makeRing: () => PositionRing | undefined;
  #isHashed: boolean | undefined;
  #ring: PositionRing | undefined;
  /** The upper bits of the position before, and how many records share them. */
  #prefix = -1;
  #count = 0;
  /** After {@link decode}: how many records to pass over, while they are at {@link isBefore}. */
  skip = 0;

  /** @param makeRing - Where large positions are remembered; undefined when there is no room. */
  constructor(fd: number, makeRing: () => PositionRing | undefined = () => new PositionRing()) {
    this.#fd = fd;
    this.#makeRing = makeRing;
  }

  /** The cookie of a record's position, given as two halves, records in order; -1 when there is no room. */
  encode(low: number, high: number): number {
    if (high < SMALL_HIGH) {
      this.#prefix = -1;
      return high * 0x1_0000_0000 + low;
    }
    if (this.isHashed) {
      const prefix = prefixOf(low, high);
      this.#count = prefix === this.#prefix ? Math.min(this.#count + 1, MAX_COUNT) : 0;
      this.#prefix = prefix;
      return FIRST + prefix * 2 ** COUNT_BITS + this.#count;
    }
    this.#ring ??= this.#makeRing();
    return this.#ring === undefined ? -1 : FIRST + this.#ring.add(low, high);
  }

  /** The position to seek to for a cookie; undefined when it was never issued or is forgotten. */
  decode(cookie: number): number | bigint | undefined {
    this.skip = 0;
    this.#prefix = -1;
    if (cookie < FIRST) return cookie;
    if (this.isHashed) {
      this.#count = cookie % 2 ** COUNT_BITS;
      this.#prefix = Math.floor((cookie - FIRST) / 2 ** COUNT_BITS);
      this.skip = this.#count;
      return BigInt(this.#prefix) << BigInt(DROPPED_BITS);
    }
    this.#ring ??= this.#makeRing();
    return this.#ring?.get(cookie - FIRST);
  }

  /** Whether a position, given as two halves, has the upper bits of the cookie just decoded. */
  isSamePrefix(low: number, high: number): boolean {
    return prefixOf(low, high) === this.#prefix;
  }

  get isHashed(): boolean {
    if (this.#isHashed === undefined) {
      const bytes = new Uint8Array(statfsStruct.size);
      const isExt4 = fstatfs(this.#fd, bytes) === 0;
      this.#isHashed = isExt4 && statfsStruct.decode(bytes).f_type === EXT4_SUPER_MAGIC;
    }
    return this.#isHashed;
  }
}

function prefixOf(low: number, high: number): number {
  return (high % 2 ** 31) * 2 ** (32 - DROPPED_BITS) + Math.floor(low / 2 ** DROPPED_BITS);
}
