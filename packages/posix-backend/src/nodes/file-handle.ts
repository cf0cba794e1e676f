import { nameToHandle, openByHandle } from "../syscalls/inode-handles.js";
import { fileHandleStruct } from "../syscalls/structs.js";
import { type NodeMemory, PAYLOAD_WORDS, record } from "./node-memory.js";
import { NodeKind, payloadLength, setKind } from "./node-record.js";

const at = fileHandleStruct.offsets;
const BYTES_AT = fileHandleStruct.size;
/** A record has room for the handle's type and this many bytes. File systems of Linux have 8 to 32 in use. */
const MAX_BYTES = (PAYLOAD_WORDS - 1) * 4;

/**
 * A file handle as the kernel gives it, on its way to or from the record of a node. Handles come from the
 * kernel and go back to it: none is ever taken from a client, who could forge one of any file.
 */
export class FileHandle {
  readonly #bytes = new Uint8Array(BYTES_AT + MAX_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);

  /** Asks for the handle of what `fd` holds; 0, or a negated errno where there is none that fits. */
  read(fd: number): number {
    this.#bytes.fill(0);
    this.#view.setUint32(at.handle_bytes, MAX_BYTES, true);
    return nameToHandle(fd, this.#bytes);
  }

  /** An O_PATH fd of the inode; ESTALE when that is gone. */
  open(mountFd: number): number {
    return openByHandle(mountFd, this.#bytes);
  }

  store(memory: NodeMemory, recordAt: number): void {
    const payload = recordAt + record.payload;
    setKind(memory, recordAt, NodeKind.handle, this.#view.getUint32(at.handle_bytes, true));
    memory.write(payload, this.#view.getUint32(at.handle_type, true));
    for (let i = 1; i < PAYLOAD_WORDS; i++) memory.write(payload + i, this.#word(i));
  }

  load(memory: NodeMemory, recordAt: number): void {
    const payload = recordAt + record.payload;
    const length = payloadLength(memory.read(recordAt + record.meta));
    this.#view.setUint32(at.handle_bytes, length, true);
    this.#view.setUint32(at.handle_type, memory.read(payload), true);
    for (let i = 1; i < PAYLOAD_WORDS; i++) {
      this.#view.setUint32(BYTES_AT + (i - 1) * 4, memory.read(payload + i), true);
    }
  }

  /** Whether a record that holds a handle holds this one. */
  equals(memory: NodeMemory, recordAt: number): boolean {
    const payload = recordAt + record.payload;
    if (memory.read(payload) !== this.#view.getUint32(at.handle_type, true)) return false;
    for (let i = 1; i < PAYLOAD_WORDS; i++) {
      if (memory.read(payload + i) !== this.#word(i)) return false;
    }
    return true;
  }

  #word(index: number): number {
    return this.#view.getUint32(BYTES_AT + (index - 1) * 4, true);
  }
}
