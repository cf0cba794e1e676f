import { VmmError } from "./errors.js";

/*
 * Shared memory: a few words, then a place for the saved state of each vCPU. A thread that waits watches
 * SEQUENCE, which changes with each of the others.
 */
const SEQUENCE = 0;
const COMMAND = 1;
/** Threads that wait at the gate. */
const PARKED = 2;
/** How often states were asked for, and how many have been written since the last time. */
const SAVE_REQUESTS = 3;
const SAVED = 4;
const HEADER_WORDS = 16;

const OPEN = 0;
const CLOSED = 1;
const STOP = 2;

/** Room for one vCPU's state; 20 KB are usual. */
const STATE_BYTES = 64 << 10;
const SAVE_LIMIT_MS = 5000;

/** What vCPU threads pass between two runs of the guest: closed, it makes them wait, and save what they hold. */
export class VcpuGate {
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #cpus: number;

  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#words = new Int32Array(shared);
    this.#cpus = Math.floor(shared.byteLength / STATE_BYTES);
  }

  static create(cpus: number, isOpen: boolean): VcpuGate {
    const gate = new VcpuGate(new SharedArrayBuffer(4 * HEADER_WORDS + cpus * STATE_BYTES));
    if (!isOpen) gate.close();
    return gate;
  }

  get isOpen(): boolean {
    return Atomics.load(this.#words, COMMAND) === OPEN;
  }

  /** The machine ends: nobody waits any more. */
  get stopping(): boolean {
    return Atomics.load(this.#words, COMMAND) === STOP;
  }

  get parkedCount(): number {
    return Atomics.load(this.#words, PARKED);
  }

  close(): void {
    this.#command(CLOSED);
  }

  open(): void {
    this.#command(OPEN);
  }

  stop(): void {
    Atomics.store(this.#words, COMMAND, STOP);
    this.#change();
  }

  /** On a vCPU thread: waits until the gate opens, and writes the vCPU's state whenever it is asked for. */
  wait(cpu: number, onParked: () => void, saveState: () => Uint8Array): void {
    const words = this.#words;
    Atomics.add(words, PARKED, 1);
    let served = Atomics.load(words, SAVE_REQUESTS);
    onParked();
    for (;;) {
      const sequence = Atomics.load(words, SEQUENCE);
      if (Atomics.load(words, COMMAND) !== CLOSED) break;
      const requests = Atomics.load(words, SAVE_REQUESTS);
      if (requests !== served) {
        served = requests;
        this.#writeState(cpu, saveState);
        Atomics.add(words, SAVED, 1);
        Atomics.notify(words, SAVED);
      }
      Atomics.wait(words, SEQUENCE, sequence);
    }
    Atomics.sub(words, PARKED, 1);
  }

  /**
   * On the device thread, while all vCPUs wait: their states, in order. Blocks, so that no device does
   * anything between the first of them and what else belongs to the same moment.
   *
   * @throws VmmError `ERR_VMM_HYPERVISOR`
   */
  collectStates(): Uint8Array[] {
    const words = this.#words;
    const deadline = performance.now() + SAVE_LIMIT_MS;
    Atomics.store(words, SAVED, 0);
    Atomics.add(words, SAVE_REQUESTS, 1);
    this.#change();
    for (;;) {
      const saved = Atomics.load(words, SAVED);
      if (saved === this.#cpus) break;
      const left = deadline - performance.now();
      if (left > 0) Atomics.wait(words, SAVED, saved, left);
      else throw new VmmError("ERR_VMM_HYPERVISOR", "a vCPU does not tell its state");
    }
    return Array.from({ length: this.#cpus }, (_, cpu) => this.#readState(cpu));
  }

  #command(command: number): void {
    // The end is final.
    if (Atomics.compareExchange(this.#words, COMMAND, OPEN, command) === STOP) return;
    Atomics.compareExchange(this.#words, COMMAND, CLOSED, command);
    this.#change();
  }

  #change(): void {
    Atomics.add(this.#words, SEQUENCE, 1);
    Atomics.notify(this.#words, SEQUENCE);
  }

  /** The place of a vCPU's state: its length, negative for the text of an error, and the bytes. */
  #place(cpu: number): { length: Int32Array; bytes: Uint8Array } {
    const at = 4 * HEADER_WORDS + cpu * STATE_BYTES;
    return {
      length: new Int32Array(this.shared, at, 1),
      bytes: new Uint8Array(this.shared, at + 4, STATE_BYTES - 4),
    };
  }

  #writeState(cpu: number, saveState: () => Uint8Array): void {
    const { length, bytes } = this.#place(cpu);
    try {
      const state = saveState();
      bytes.set(state);
      length[0] = state.length;
    } catch (error) {
      const text = Buffer.from(error instanceof Error ? error.message : String(error));
      bytes.set(text.subarray(0, bytes.length));
      length[0] = -Math.min(text.length, bytes.length);
    }
  }

  #readState(cpu: number): Uint8Array {
    const { length, bytes } = this.#place(cpu);
    const [count = 0] = length;
    if (count > 0) return bytes.slice(0, count);
    const reason = Buffer.from(bytes.slice(0, -count)).toString();
    throw new VmmError("ERR_VMM_HYPERVISOR", `the state of vCPU ${cpu} cannot be read: ${reason}`);
  }
}
