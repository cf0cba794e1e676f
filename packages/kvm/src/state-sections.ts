import { KvmError } from "./errors.js";

/*
 * Saved state is a row of sections: a tag of four ASCII characters, the number of bytes as u32, the bytes.
 * The bytes of a section are what the ioctl of the same purpose gave: see docs/snapshot-format.md.
 */

const HEADER = 8;

/** Writes sections in their order. */
export function encodeSections(sections: Readonly<Record<string, Uint8Array>>): Uint8Array {
  const parts = Object.entries(sections).flatMap(([tag, bytes]) => {
    const header = Buffer.alloc(HEADER);
    header.write(tag, "latin1");
    header.writeUInt32LE(bytes.length, 4);
    return [header, bytes];
  });
  return Buffer.concat(parts);
}

/** The sections of saved state, each asked for once by its tag. */
export class Sections {
  readonly #what: string;
  readonly #sections = new Map<string, Uint8Array>();

  /** `what` names the state in messages. @throws {@link KvmError} `ERR_KVM_STATE` */
  constructor(what: string, bytes: Uint8Array) {
    this.#what = what;
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < buffer.length; ) {
      if (buffer.length - at < HEADER) throw this.#damaged(`ends within a header, at ${at}`);
      const tag = buffer.toString("latin1", at, at + 4);
      const length = buffer.readUInt32LE(at + 4);
      at += HEADER;
      if (length > buffer.length - at) throw this.#damaged(`ends within section ${tag}`);
      if (this.#sections.has(tag)) throw this.#damaged(`has two sections ${tag}`);
      this.#sections.set(tag, buffer.subarray(at, at + length));
      at += length;
    }
  }

  has(tag: string): boolean {
    return this.#sections.has(tag);
  }

  /** A section of exactly `length` bytes: the kernel reads as many, whatever it is given. */
  take(tag: string, length: number): Uint8Array {
    const bytes = this.takeList(tag, length, 0, 0);
    if (bytes.length === length) return bytes;
    throw this.#damaged(`has ${bytes.length} bytes in section ${tag}, not ${length}`);
  }

  /** A section of a header and at most `limit` items, whose number the header starts with. */
  takeList(tag: string, header: number, item: number, limit: number): Uint8Array {
    const bytes = this.#sections.get(tag);
    if (bytes === undefined) throw this.#damaged(`has no section ${tag}`);
    this.#sections.delete(tag);
    if (item === 0) return bytes;
    const count = bytes.length < 4 ? -1 : Buffer.from(bytes).readUInt32LE(0);
    if (count >= 0 && count <= limit && bytes.length === header + count * item) return bytes;
    throw this.#damaged(`has ${bytes.length} bytes in section ${tag} for ${count} items`);
  }

  /** What nobody took is state that would be lost. */
  end(): void {
    const [unknown] = this.#sections.keys();
    if (unknown !== undefined) throw this.#damaged(`has an unknown section ${unknown}`);
  }

  #damaged(detail: string): KvmError {
    return new KvmError("ERR_KVM_STATE", `the saved state of ${this.#what} ${detail}`);
  }
}
