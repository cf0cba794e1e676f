/**
 * The shared memory between the device thread and the vCPU threads: a stop flag, and one mailbox a
 * vCPU for the rare register writes that a device must act on before the guest goes on.
 */

const STOP = 0;
const MAILBOXES = 1;
const MAILBOX_WORDS = 4;
/** Words of a mailbox. */
const STATE = 0;
const DEVICE = 1;
const ACTION = 2;
const VALUE = 3;

const IDLE = 0;
const REQUESTED = 1;

export class VcpuControl {
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array;

  private constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#words = new Int32Array(shared);
  }

  static create(cpus: number): VcpuControl {
    const words = MAILBOXES + cpus * MAILBOX_WORDS;
    return new VcpuControl(new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT));
  }

  static attach(shared: SharedArrayBuffer): VcpuControl {
    return new VcpuControl(shared);
  }

  get stopping(): boolean {
    return Atomics.load(this.#words, STOP) !== 0;
  }

  /** Tells every vCPU thread to end, also those that wait for the device thread. */
  stop(): void {
    Atomics.store(this.#words, STOP, 1);
    for (let at = MAILBOXES; at < this.#words.length; at += MAILBOX_WORDS) this.#release(at);
  }

  /** On a vCPU thread: hands an action to the device thread and waits until it is done. */
  request(cpu: number, device: number, action: number, value: number, wake: () => void): void {
    const at = MAILBOXES + cpu * MAILBOX_WORDS;
    this.#words[at + DEVICE] = device;
    this.#words[at + ACTION] = action;
    this.#words[at + VALUE] = value | 0;
    Atomics.store(this.#words, at + STATE, REQUESTED);
    wake();
    while (!this.stopping && Atomics.load(this.#words, at + STATE) === REQUESTED) {
      Atomics.wait(this.#words, at + STATE, REQUESTED);
    }
  }

  /** On the device thread: carries out the action that vCPU `cpu` waits for, if any. */
  serve(cpu: number, act: (device: number, action: number, value: number) => void): void {
    const at = MAILBOXES + cpu * MAILBOX_WORDS;
    if (Atomics.load(this.#words, at + STATE) !== REQUESTED) return;
    try {
      const value = (this.#words[at + VALUE] ?? 0) >>> 0;
      act(this.#words[at + DEVICE] ?? 0, this.#words[at + ACTION] ?? 0, value);
    } finally {
      this.#release(at);
    }
  }

  #release(at: number): void {
    Atomics.store(this.#words, at + STATE, IDLE);
    Atomics.notify(this.#words, at + STATE);
  }
}
