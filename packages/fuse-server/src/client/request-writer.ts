import { encodeName, FUSE_ROOT_ID, fuse_in_header } from "@supermachine/fuse-protocol";

/** The part of a struct declaration that writing a request needs. */
interface EncodableStruct<V> {
  readonly size: number;
  encode(value: V, bytes: Uint8Array, offset?: number): number;
}

/** Who a client claims to be. */
export interface Credentials {
  readonly uid: number;
  readonly gid: number;
  readonly pid: number;
}

/** Builds one request. */
export class RequestWriter {
  readonly #parts: Uint8Array[] = [];

  struct<V>(struct: EncodableStruct<V>, value: V): this {
    const bytes = new Uint8Array(struct.size);
    struct.encode(value, bytes);
    this.#parts.push(bytes);
    return this;
  }

  name(name: string): this {
    this.#parts.push(encodeName(name), new Uint8Array(1));
    return this;
  }

  data(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    return this;
  }

  /** The whole message, header included. */
  finish(
    opcode: number,
    unique: bigint,
    nodeid: number = FUSE_ROOT_ID,
    who: Credentials = { uid: 0, gid: 0, pid: 0 },
  ): Uint8Array {
    const length = this.#parts.reduce((sum, part) => sum + part.length, fuse_in_header.size);
    const message = new Uint8Array(length);
    fuse_in_header.encode(
      {
        len: length,
        opcode,
        unique,
        nodeid: BigInt(nodeid),
        uid: who.uid,
        gid: who.gid,
        pid: who.pid,
        total_extlen: 0,
        padding: 0,
      },
      message,
    );
    let at = fuse_in_header.size;
    for (const part of this.#parts) {
      message.set(part, at);
      at += part.length;
    }
    return message;
  }
}
