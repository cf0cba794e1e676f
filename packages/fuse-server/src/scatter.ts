/**
 * Bytes spread over several buffers, as a descriptor chain or a frame has them.
 */

/** The sum of the lengths. */
export function totalLength(buffers: readonly Uint8Array[]): number {
  let total = 0;
  for (let i = 0; i < buffers.length; i++) total += (buffers[i] as Uint8Array).length;
  return total;
}

/** Below this many bytes a loop is faster than making the view that `set` needs. */
const LOOP = 64;

function copy(
  source: Uint8Array,
  sourceAt: number,
  target: Uint8Array,
  targetAt: number,
  length: number,
): void {
  if (length <= LOOP) {
    for (let i = 0; i < length; i++) target[targetAt + i] = source[sourceAt + i] as number;
  } else if (sourceAt === 0 && length === source.length) {
    target.set(source, targetAt);
  } else {
    target.set(source.subarray(sourceAt, sourceAt + length), targetAt);
  }
}

/** Copies bytes `[from, to)` of `buffers` to `target`, at the same offsets. */
export function gather(
  buffers: readonly Uint8Array[],
  from: number,
  to: number,
  target: Uint8Array,
): void {
  let start = 0;
  for (let i = 0; i < buffers.length && start < to; i++) {
    const buffer = buffers[i] as Uint8Array;
    const first = Math.max(from, start);
    const last = Math.min(to, start + buffer.length);
    if (first < last) copy(buffer, first - start, target, first, last - first);
    start += buffer.length;
  }
}

/** Copies the first `length` bytes of `source` to the start of `buffers`. */
export function scatter(source: Uint8Array, length: number, buffers: readonly Uint8Array[]): void {
  let start = 0;
  for (let i = 0; i < buffers.length && start < length; i++) {
    const buffer = buffers[i] as Uint8Array;
    copy(source, start, buffer, 0, Math.min(buffer.length, length - start));
    start += buffer.length;
  }
}

/**
 * Puts `length` bytes of `buffers` from `skip` on into `window`: the buffers themselves where they lie
 * inside whole, views of them at the edges.
 */
export function sliceBuffers(
  buffers: readonly Uint8Array[],
  skip: number,
  length: number,
  window: Uint8Array[],
): void {
  let start = 0;
  const end = skip + length;
  for (let i = 0; i < buffers.length && start < end; i++) {
    const buffer = buffers[i] as Uint8Array;
    const first = Math.max(0, skip - start);
    const last = Math.min(buffer.length, end - start);
    if (first < last) {
      window.push(first === 0 && last === buffer.length ? buffer : buffer.subarray(first, last));
    }
    start += buffer.length;
  }
}
