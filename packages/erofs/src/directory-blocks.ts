import { decodeName, encodeName } from "@supermachine-internal/file-name";
import { ErofsError } from "./errors.js";
import { dirent, EROFS_BLOCK_SIZE, EROFS_NAME_LEN } from "./on-disk.js";
import type { ErofsNodeType } from "./tree.js";

/** `file_type` in a dirent: the generic `FT_*` numbers of `linux/fs_types.h`. */
const fileTypes: Readonly<Record<ErofsNodeType, number>> = {
  file: 1,
  directory: 2,
  "character-device": 3,
  "block-device": 4,
  fifo: 5,
  socket: 6,
  symlink: 7,
};
const typeOfFileType = new Map(
  (Object.keys(fileTypes) as ErofsNodeType[]).map((type) => [fileTypes[type], type]),
);

/** A name as stored, and what it stands for. */
export interface NamedEntry<T> {
  readonly name: Uint8Array;
  readonly target: T;
}

const dot = encodeName(".");
const dotDot = encodeName("..");

/**
 * The entries of a directory in stored order: by bytes, `.` and `..` among them, since the kernel
 * searches blocks by bisection.
 */
export function sortedEntries<T>(
  entries: Iterable<readonly [string, T]>,
  self: T,
  parent: T,
): NamedEntry<T>[] {
  const named: NamedEntry<T>[] = [
    { name: dot, target: self },
    { name: dotDot, target: parent },
  ];
  for (const [name, target] of entries) named.push({ name: encodeName(name), target });
  return named.sort((a, b) => Buffer.compare(a.name, b.name));
}

/** What is wrong with the name of an entry, or undefined. */
export function nameProblem(name: string): string | undefined {
  const { length } = encodeName(name);
  if (length === 0) return "is empty";
  if (length > EROFS_NAME_LEN) return `has ${length} bytes, more than ${EROFS_NAME_LEN}`;
  if (name === "." || name === "..") return "is reserved";
  if (/[/\0]/.test(name)) return "contains a slash or NUL";
  return undefined;
}

/** The end index of each block's share of `entries`: a block holds whole dirents with their names. */
function* splitIntoBlocks(
  entries: readonly NamedEntry<unknown>[],
): Generator<{ start: number; end: number; used: number }> {
  let start = 0;
  let used = 0;
  for (const [index, { name }] of entries.entries()) {
    const size = dirent.size + name.length;
    if (used + size > EROFS_BLOCK_SIZE) {
      yield { start, end: index, used };
      start = index;
      used = 0;
    }
    used += size;
  }
  yield { start, end: entries.length, used };
}

/** `i_size` of a directory: whole blocks, then the used bytes of the last one. */
export function directorySize(entries: readonly NamedEntry<unknown>[]): number {
  let size = 0;
  for (const block of splitIntoBlocks(entries)) {
    size = Math.ceil(size / EROFS_BLOCK_SIZE) * EROFS_BLOCK_SIZE + block.used;
  }
  return size;
}

/** Encodes the {@link directorySize} bytes of a directory: in each block the dirents, then the names. */
export function encodeDirectory<T>(
  entries: readonly NamedEntry<T>[],
  describe: (target: T) => { readonly nid: number; readonly type: ErofsNodeType },
): Uint8Array {
  const bytes = new Uint8Array(directorySize(entries));
  let block = 0;
  for (const { start, end } of splitIntoBlocks(entries)) {
    let at = block;
    let nameoff = (end - start) * dirent.size;
    for (const { name, target } of entries.slice(start, end)) {
      const { nid, type } = describe(target);
      dirent.encode(
        { nid: BigInt(nid), nameoff, file_type: fileTypes[type], reserved: 0 },
        bytes,
        at,
      );
      bytes.set(name, block + nameoff);
      at += dirent.size;
      nameoff += name.length;
    }
    block += EROFS_BLOCK_SIZE;
  }
  return bytes;
}

/** An entry of a directory as read. */
export interface ErofsDirent {
  readonly name: string;
  readonly nid: number;
  /** As the dirent says; undefined when it says nothing known. The inode has the last word. */
  readonly type: ErofsNodeType | undefined;
}

/**
 * Decodes one directory block, of which `block` are the used bytes. Throws {@link ErofsError}
 * `ERR_EROFS_CORRUPT` where the kernel would refuse it too; `nid` names the directory.
 */
export function decodeDirectoryBlock(block: Uint8Array, nid: number): ErofsDirent[] {
  const corrupt = (what: string) =>
    new ErofsError("ERR_EROFS_CORRUPT", `directory ${nid}: ${what}`);
  if (block.length < dirent.size)
    throw corrupt(`a block of ${block.length} bytes has no room for an entry`);
  const view = new DataView(block.buffer, block.byteOffset, block.byteLength);
  const nameoffAt = (at: number) => view.getUint16(at + dirent.offsets.nameoff, true);
  const namesAt = nameoffAt(0);
  if (namesAt === 0 || namesAt % dirent.size !== 0 || namesAt > block.length) {
    throw corrupt(`the first name of a block is at ${namesAt}, which cannot be`);
  }
  const entries: ErofsDirent[] = [];
  for (let at = 0; at < namesAt; at += dirent.size) {
    const start = nameoffAt(at);
    const last = at + dirent.size >= namesAt;
    let end = last ? block.length : nameoffAt(at + dirent.size);
    if (start < namesAt || end > block.length || start >= end) {
      throw corrupt(`an entry has its name at ${start} to ${end}, outside of the block`);
    }
    // Only the last name of a block may be followed by padding; its length is stored nowhere else.
    const terminator = block.subarray(start, end).indexOf(0);
    if (terminator !== -1) end = start + terminator;
    const name = block.subarray(start, end);
    if (
      (terminator !== -1 && !last) ||
      name.length === 0 ||
      name.length > EROFS_NAME_LEN ||
      name.includes(0x2f)
    ) {
      throw corrupt(
        `an entry has an impossible name, ${JSON.stringify(decodeName(name.subarray(0, 300)))}`,
      );
    }
    entries.push({
      name: decodeName(name),
      nid: view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32,
      type: typeOfFileType.get(view.getUint8(at + dirent.offsets.file_type)),
    });
  }
  return entries;
}
