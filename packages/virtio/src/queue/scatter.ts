/** Bytes in a scatter-gather list. */
export function totalLength(buffers: readonly Uint8Array[]): number {
  let total = 0;
  for (const buffer of buffers) total += buffer.length;
  return total;
}

/** Copies bytes from `offset` of the list into `target`; answers how many there were. */
export function gather(buffers: readonly Uint8Array[], offset: number, target: Uint8Array): number {
  let skip = offset;
  let copied = 0;
  for (const buffer of buffers) {
    if (copied === target.length) break;
    if (skip >= buffer.length) {
      skip -= buffer.length;
      continue;
    }
    const count = Math.min(buffer.length - skip, target.length - copied);
    target.set(
      skip === 0 && count === buffer.length ? buffer : buffer.subarray(skip, skip + count),
      copied,
    );
    copied += count;
    skip = 0;
  }
  return copied;
}

/** Copies `source` to `offset` of the list; answers how many bytes fitted. */
export function scatter(
  buffers: readonly Uint8Array[],
  offset: number,
  source: Uint8Array,
): number {
  let skip = offset;
  let copied = 0;
  for (const buffer of buffers) {
    if (copied === source.length) break;
    if (skip >= buffer.length) {
      skip -= buffer.length;
      continue;
    }
    const count = Math.min(buffer.length - skip, source.length - copied);
    buffer.set(
      copied === 0 && count === source.length ? source : source.subarray(copied, copied + count),
      skip,
    );
    copied += count;
    skip = 0;
  }
  return copied;
}

/** Views of the bytes `[start, start + length)` of the list, as far as it reaches. */
export function sliceBuffers(
  buffers: readonly Uint8Array[],
  start: number,
  length: number,
): Uint8Array[] {
  const slices: Uint8Array[] = [];
  let skip = start;
  let left = length;
  for (const buffer of buffers) {
    if (left === 0) break;
    if (skip >= buffer.length) {
      skip -= buffer.length;
      continue;
    }
    const count = Math.min(buffer.length - skip, left);
    slices.push(count === buffer.length ? buffer : buffer.subarray(skip, skip + count));
    left -= count;
    skip = 0;
  }
  return slices;
}
