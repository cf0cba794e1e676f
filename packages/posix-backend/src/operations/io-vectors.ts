import { EAGAIN } from "@supermachine/fuse-protocol";
import { addressOf } from "@supermachine-internal/libc";
import { pread, preadv, preadvAside, preadvCached, pwrite, pwritev } from "../platform/host.js";
import { iovecStruct } from "../syscalls/structs.js";

/** IOV_MAX: readv(2) takes no more at once. */
const MAX_VECTORS = 1024;
const SMALLEST_BLOCK = 512;
const baseAt = iovecStruct.offsets.iov_base;
const lengthAt = iovecStruct.offsets.iov_len;

const vectors = new Uint8Array(MAX_VECTORS * iovecStruct.size);
const view = new DataView(vectors.buffer);

// Guest memory is a handful of large ArrayBuffers seen through ever new views. The memory of an
// ArrayBuffer does not move, so its address is asked for once; user addresses fit a number.
const addresses = new WeakMap<ArrayBufferLike, number>();

let latestMemory: ArrayBufferLike | undefined;
let latestAddress = 0;

function baseAddress(memory: ArrayBufferLike): number {
  if (memory === latestMemory) return latestAddress;
  latestAddress = addressIn(memory);
  latestMemory = memory;
  return latestAddress;
}

function addressIn(memory: ArrayBufferLike): number {
  let address = addresses.get(memory);
  if (address === undefined) {
    address = Number(addressOf(memory));
    addresses.set(memory, address);
  }
  return address;
}

/** Encodes buffers from index `first` on; returns how many. */
function encodeVectors(buffers: readonly Uint8Array[], first: number): number {
  let count = 0;
  for (let i = first; i < buffers.length && count < MAX_VECTORS; i++) {
    const buffer = buffers[i] as Uint8Array;
    const address = baseAddress(buffer.buffer) + buffer.byteOffset;
    const at = count * iovecStruct.size;
    view.setUint32(at + baseAt, address >>> 0, true);
    view.setUint32(at + baseAt + 4, Math.floor(address / 0x1_0000_0000), true);
    view.setUint32(at + lengthAt, buffer.length, true);
    view.setUint32(at + lengthAt + 4, 0, true);
    count++;
  }
  return count;
}

function transfer(
  fd: number,
  offset: number,
  buffers: readonly Uint8Array[],
  vectored: typeof preadv,
): number {
  let total = 0;
  for (let first = 0; first < buffers.length; first += MAX_VECTORS) {
    const count = encodeVectors(buffers, first);
    let wanted = 0;
    for (let i = first; i < first + count; i++) wanted += (buffers[i] as Uint8Array).length;
    const done = vectored(fd, vectors, count, offset + total);
    if (done < 0) return total > 0 ? total : done;
    total += done;
    if (done < wanted) break;
  }
  return total;
}

/** Reads into `buffers` one after the other; the bytes read, or a negated errno. */
export function readInto(fd: number, offset: number, buffers: readonly Uint8Array[]): number {
  const only = buffers[0];
  if (buffers.length === 1 && only !== undefined) return pread(fd, only, offset);
  return transfer(fd, offset, buffers, preadv);
}

const probe = [new Uint8Array(1)];

/**
 * As {@link readInto}, from the host's page cache alone: -EAGAIN when not all is there, and -EOPNOTSUPP
 * when the file system cannot tell.
 */
export function readCached(fd: number, offset: number, buffers: readonly Uint8Array[]): number {
  if (buffers.length > MAX_VECTORS) return -EAGAIN;
  const done = preadvCached(fd, vectors, encodeVectors(buffers, 0), offset);
  if (done < 0) return done;
  let wanted = 0;
  for (let i = 0; i < buffers.length; i++) wanted += (buffers[i] as Uint8Array).length;
  if (done === wanted) return done;
  // Less is either the end of the file or that of what is cached, which ends with a block.
  if ((offset + done) % SMALLEST_BLOCK !== 0) return done;
  const more = preadvCached(fd, vectors, encodeVectors(probe, 0), offset + done);
  return more === 0 ? done : -EAGAIN;
}

/** As {@link readInto}, on another thread. */
export async function readAside(
  fd: number,
  offset: number,
  buffers: readonly Uint8Array[],
): Promise<number> {
  let total = 0;
  for (let first = 0; first < buffers.length; first += MAX_VECTORS) {
    const count = encodeVectors(buffers, first);
    let wanted = 0;
    for (let i = first; i < first + count; i++) wanted += (buffers[i] as Uint8Array).length;
    const own = vectors.slice(0, count * iovecStruct.size);
    const done = await preadvAside(fd, own, count, offset + total);
    if (done < 0) return total > 0 ? total : done;
    total += done;
    if (done < wanted) break;
  }
  return total;
}

/** Writes `buffers` one after the other; the bytes written, or a negated errno. */
export function writeFrom(fd: number, offset: number, buffers: readonly Uint8Array[]): number {
  const only = buffers[0];
  if (buffers.length === 1 && only !== undefined) return pwrite(fd, only, offset);
  return transfer(fd, offset, buffers, pwritev);
}
