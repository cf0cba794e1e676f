/**
 * Names on Linux are bytes; here they are strings. UTF-8 is decoded as such, and a byte that is not
 * valid UTF-8 becomes the lone surrogate U+DC80 to U+DCFF (the "surrogateescape" of Python's PEP 383),
 * so that every name survives a round trip and two different names never become one.
 */

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The length in bytes of the UTF-8 sequence at `start`, or 0 when there is no valid one. */
function sequenceLength(bytes: Uint8Array, start: number): number {
  for (let length = 1; length <= 4 && start + length <= bytes.length; length++) {
    try {
      strict.decode(bytes.subarray(start, start + length));
      return length;
    } catch {
      // Not a whole character yet; at most three more bytes can complete it.
    }
  }
  return 0;
}

/** Decodes the bytes of a name or symlink target; {@link encodeName} gives the same bytes back. */
export function decodeName(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes);
  } catch {
    let name = "";
    for (let at = 0; at < bytes.length; ) {
      const length = sequenceLength(bytes, at);
      name +=
        length === 0
          ? String.fromCharCode(0xdc00 + (bytes[at] ?? 0))
          : strict.decode(bytes.subarray(at, at + length));
      at += Math.max(length, 1);
    }
    return name;
  }
}

/** The bytes of a name or symlink target: UTF-8, and one byte for each escaped byte. */
export function encodeName(name: string): Uint8Array {
  if (!/[\udc80-\udcff]/.test(name)) return Buffer.from(name, "utf8");
  const parts: Uint8Array[] = [];
  for (const character of name) {
    const code = character.codePointAt(0) ?? 0;
    parts.push(
      code >= 0xdc80 && code <= 0xdcff
        ? Uint8Array.of(code - 0xdc00)
        : Buffer.from(character, "utf8"),
    );
  }
  return Buffer.concat(parts);
}
