import * as protocol from "@supermachine/fuse-protocol";
import { pseudoRandom } from "../data.js";

/** Flags that servers never see, so the protocol has no names for them; those of x86-64. */
const OF_THE_KERNEL: Readonly<Record<string, number>> = {
  O_DIRECTORY: 0o200000,
  O_NOFOLLOW: 0o400000,
  O_PATH: 0o10000000,
  O_TMPFILE: 0o20200000,
  AT_SYMLINK_FOLLOW: 0x400,
  F_OK: 0,
  R_OK: 4,
  W_OK: 2,
  X_OK: 1,
};
export const O_DIRECTORY = 0o200000;
export const O_NOFOLLOW = 0o400000;

/** The value of `O_RDWR|O_CREAT`, `0644`, `-1`. */
export function numberOf(text: string): number {
  const terms = text.split("|").map(termOf);
  // Sizes do not fit the 32 bits of an OR.
  return terms.length === 1 ? (terms[0] ?? 0) : terms.reduce((sum, term) => sum | term, 0);
}

function termOf(term: string): number {
  const named = OF_THE_KERNEL[term] ?? (protocol as Readonly<Record<string, unknown>>)[term];
  if (typeof named === "number") return named;
  return /^0[0-7]+$/.test(term) ? Number.parseInt(term, 8) : Number(term);
}

/** The bytes that a word of a command stands for. */
export function dataOf(word: string): Uint8Array {
  const [, length, seed] = /^#(\d+):(\d+)$/.exec(word) ?? [];
  if (length !== undefined) return pseudoRandom(Number(length), Number(seed));
  if (word === "''") return new Uint8Array(0);
  const bytes: number[] = [];
  for (const [part, hex] of word.matchAll(/%([0-9a-f]{2})|[^%]|%/g)) {
    if (hex === undefined) bytes.push(...new TextEncoder().encode(part));
    else bytes.push(Number.parseInt(hex, 16));
  }
  return Uint8Array.from(bytes);
}

/** A name or path, as the protocol decodes names. */
export function nameOf(word: string): string {
  return protocol.decodeName(dataOf(word));
}
