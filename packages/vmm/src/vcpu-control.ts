import type { MmioAction } from "@supermachine/virtio";
import type { VcpuGate } from "./vcpu-gate.js";

/**
 * The shared memory between the device thread and the vCPU threads: one mailbox a vCPU for the rare
 * register writes that a device must act on before the guest goes on.
 */

const MAILBOX_WORDS = 6;
/** Words of a mailbox. */
const STATE = 0;
const DEVICE = 1;
const ACTION = 2;
const VALUE = 3;
const OFFSET = 4;
const SIZE = 5;

const IDLE = 0;
const REQUESTED = 1;

/** In the place of a device: the vCPU met memory that cannot be accessed. */
const REPAIR = -1;

/** A register write of the guest that the device thread must act on. */
export interface RegisterWrite {
  /** Position of the device on the bus. */
  readonly device: number;
  readonly action: MmioAction;
  /** Offset in the register window, size and value of the write. */
  readonly offset: number;
  readonly size: number;
  readonly value: number;
}

/** What carries out the requests of vCPU threads. */
export interface RequestHandler {
  handle(write: RegisterWrite): void;
  /** Mends memory that cannot be accessed; false where it cannot. */
  repairMemory(): boolean;
}

export class VcpuControl {
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array;
  /** Nobody waits any more once the gate is stopping. */
  readonly #gate: VcpuGate;

  private constructor(shared: SharedArrayBuffer, gate: VcpuGate) {
    this.shared = shared;
    this.#gate = gate;
    this.#words = new Int32Array(shared);
  }

  static create(cpus: number, gate: VcpuGate): VcpuControl {
    const words = cpus * MAILBOX_WORDS;
    return new VcpuControl(new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT), gate);
  }

  static attach(shared: SharedArrayBuffer, gate: VcpuGate): VcpuControl {
    return new VcpuControl(shared, gate);
  }

  /** Lets go of every vCPU thread that waits for the device thread. */
  releaseAll(): void {
    for (let at = 0; at < this.#words.length; at += MAILBOX_WORDS) this.#release(at);
  }

  /** On a vCPU thread: hands an action to the device thread and waits until it is done. */
  request(cpu: number, write: RegisterWrite, wake: () => void): void {
    const at = cpu * MAILBOX_WORDS;
    this.#words[at + DEVICE] = write.device;
    this.#words[at + ACTION] = write.action;
    this.#words[at + VALUE] = write.value | 0;
    this.#words[at + OFFSET] = write.offset;
    this.#words[at + SIZE] = write.size;
    this.#wait(at, wake);
  }

  /** On a vCPU thread: has memory mended that could not be accessed; answers whether it was. */
  requestRepair(cpu: number, wake: () => void): boolean {
    const at = cpu * MAILBOX_WORDS;
    this.#words[at + DEVICE] = REPAIR;
    this.#words[at + VALUE] = 0;
    this.#wait(at, wake);
    return Atomics.load(this.#words, at + VALUE) !== 0;
  }

  #wait(at: number, wake: () => void): void {
    Atomics.store(this.#words, at + STATE, REQUESTED);
    wake();
    while (!this.#gate.stopping && Atomics.load(this.#words, at + STATE) === REQUESTED) {
      Atomics.wait(this.#words, at + STATE, REQUESTED);
    }
  }

  /** On the device thread: carries out what vCPU `cpu` waits for, if anything. */
  serve(cpu: number, handler: RequestHandler): void {
    const at = cpu * MAILBOX_WORDS;
    if (Atomics.load(this.#words, at + STATE) !== REQUESTED) return;
    try {
      if (this.#words[at + DEVICE] === REPAIR) {
        this.#words[at + VALUE] = handler.repairMemory() ? 1 : 0;
        return;
      }
      handler.handle({
        device: this.#words[at + DEVICE] ?? 0,
        action: (this.#words[at + ACTION] ?? 0) as MmioAction,
        value: (this.#words[at + VALUE] ?? 0) >>> 0,
        offset: this.#words[at + OFFSET] ?? 0,
        size: this.#words[at + SIZE] ?? 0,
      });
    } finally {
      this.#release(at);
    }
  }

  #release(at: number): void {
    Atomics.store(this.#words, at + STATE, IDLE);
    Atomics.notify(this.#words, at + STATE);
  }
}
