import { encodeName } from "@supermachine/erofs";
import { TAR_BLOCK } from "./header.js";
import type { TarEntryType, TarHeader } from "./reader.js";

/**
 * What a tar archive shall say of one file: as {@link TarHeader}, without devices and extended
 * attributes.
 */
export type NewTarHeader = Pick<
  TarHeader,
  "type" | "name" | "linkname" | "mode" | "uid" | "gid" | "size" | "mtime"
>;

const flagOfType: Readonly<Record<TarEntryType, string>> = {
  file: "0",
  link: "1",
  symlink: "2",
  "character-device": "3",
  "block-device": "4",
  directory: "5",
  fifo: "6",
};

/** The largest of seven and of eleven octal digits. */
const MAX_ID = 0o7777777;
const MAX_SIZE = 0o77777777777;

function octal(value: number, length: number): string {
  return `${value.toString(8).padStart(length - 1, "0")}\0`;
}

function header(entry: NewTarHeader, flag: string, name: Uint8Array): Buffer {
  // What does not fit here, a pax record has.
  const fitting = (value: number, max: number) => (value >= 0 && value <= max ? value : 0);
  const block = Buffer.alloc(TAR_BLOCK);
  block.set(name.subarray(0, 100), 0);
  block.write(octal(entry.mode & 0o7777, 8), 100);
  block.write(octal(fitting(entry.uid, MAX_ID), 8), 108);
  block.write(octal(fitting(entry.gid, MAX_ID), 8), 116);
  block.write(octal(fitting(entry.size, MAX_SIZE), 12), 124);
  block.write(octal(fitting(entry.mtime, MAX_SIZE), 12), 136);
  block.write(" ".repeat(8), 148);
  block.write(flag, 156);
  block.set(encodeName(entry.linkname).subarray(0, 100), 157);
  block.write("ustar\x0000", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${octal(sum, 7)} `, 148);
  return block;
}

/** A pax record; its length counts its own digits, too. */
function record(key: string, value: Uint8Array): Buffer {
  const rest = key.length + value.length + 3;
  let length = rest + 1;
  while (rest + String(length).length > length) length++;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from("\n")]);
}

/**
 * The header blocks of one entry: ustar, with a pax extended header where that does not suffice. `size`
 * bytes of content, padded to a multiple of {@link TAR_BLOCK}, follow in the archive; two blocks of
 * zeros end it. Names keep every byte; times are whole seconds.
 */
export function encodeTarHeader(entry: NewTarHeader): Buffer {
  const name = encodeName(entry.name);
  const linkname = encodeName(entry.linkname);
  const records: Buffer[] = [];
  const number = (key: string, value: number, max: number) => {
    if (value < 0 || value > max) records.push(record(key, Buffer.from(String(value))));
  };
  if (name.length > 100) records.push(record("path", name));
  if (linkname.length > 100) records.push(record("linkpath", linkname));
  number("uid", entry.uid, MAX_ID);
  number("gid", entry.gid, MAX_ID);
  number("size", entry.size, MAX_SIZE);
  number("mtime", entry.mtime, MAX_SIZE);
  const blocks = [header(entry, flagOfType[entry.type], name)];
  if (records.length > 0) {
    const body = Buffer.concat(records);
    const extended = { ...entry, linkname: "", size: body.length, mtime: 0 };
    const padding = Buffer.alloc(-body.length & (TAR_BLOCK - 1));
    blocks.unshift(header(extended, "x", Buffer.from("pax")), body, padding);
  }
  return Buffer.concat(blocks);
}
