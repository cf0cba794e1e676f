import { virtioVsockHdr } from "./vsock-layout.js";

const { offsets } = virtioVsockHdr;

/** A virtio_vsock_hdr (virtio 1.2, section 5.10.6): bytes that are reused, read and written in place. */
export class PacketHeader {
  readonly bytes = new Uint8Array(virtioVsockHdr.size);
  readonly #view = new DataView(this.bytes.buffer);

  /** A context id; `undefined` for one of 2^53 or more, which nobody has. */
  get sourceCid(): number | undefined {
    return this.#readCid(offsets.src_cid);
  }
  get destinationCid(): number | undefined {
    return this.#readCid(offsets.dst_cid);
  }
  get sourcePort(): number {
    return this.#view.getUint32(offsets.src_port, true);
  }
  get destinationPort(): number {
    return this.#view.getUint32(offsets.dst_port, true);
  }
  /** Bytes of payload. */
  get length(): number {
    return this.#view.getUint32(offsets.len, true);
  }
  get type(): number {
    return this.#view.getUint16(offsets.type, true);
  }
  get operation(): number {
    return this.#view.getUint16(offsets.op, true);
  }
  get flags(): number {
    return this.#view.getUint32(offsets.flags, true);
  }
  /** The sender's receive buffer, in bytes. */
  get bufferSize(): number {
    return this.#view.getUint32(offsets.buf_alloc, true);
  }
  /** Bytes that the sender's application took so far, modulo 2^32. */
  get forwarded(): number {
    return this.#view.getUint32(offsets.fwd_cnt, true);
  }

  setAddresses(sourceCid: number, sourcePort: number, cid: number, port: number): void {
    this.#writeCid(offsets.src_cid, sourceCid);
    this.#view.setUint32(offsets.src_port, sourcePort, true);
    this.#writeCid(offsets.dst_cid, cid);
    this.#view.setUint32(offsets.dst_port, port, true);
  }

  setOperation(type: number, operation: number, flags: number, length: number): void {
    this.#view.setUint16(offsets.type, type, true);
    this.#view.setUint16(offsets.op, operation, true);
    this.#view.setUint32(offsets.flags, flags, true);
    this.#view.setUint32(offsets.len, length, true);
  }

  setCredit(bufferSize: number, forwarded: number): void {
    this.#view.setUint32(offsets.buf_alloc, bufferSize, true);
    this.#view.setUint32(offsets.fwd_cnt, forwarded, true);
  }

  #readCid(at: number): number | undefined {
    const cid = this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32;
    return Number.isSafeInteger(cid) ? cid : undefined;
  }

  #writeCid(at: number, cid: number): void {
    this.#view.setUint32(at, cid >>> 0, true);
    this.#view.setUint32(at + 4, Math.floor(cid / 2 ** 32), true);
  }
}
