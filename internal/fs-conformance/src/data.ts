/** Above this length answers show the hash of data instead of the data (executor/answer.c). */
const SHOWN = 64;

/** The bytes that the executor makes of `#LENGTH:SEED` (executor/arguments.c). */
export function pseudoRandom(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

/** How the executor shows bytes: as text with `%XX`, or by length and FNV-1a hash when long. */
export function showBytes(bytes: Uint8Array): string {
  if (bytes.length > SHOWN) {
    let hash = 2166136261;
    for (const byte of bytes) hash = Math.imul(hash ^ byte, 16777619);
    return `#${bytes.length}~${(hash >>> 0).toString(16).padStart(8, "0")}`;
  }
  if (bytes.length === 0) return "''";
  return Array.from(bytes, (byte) =>
    byte > 0x20 && byte < 0x7f && byte !== 0x25 && byte !== 0x23
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).padStart(2, "0")}`,
  ).join("");
}
