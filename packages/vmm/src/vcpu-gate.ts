import type { VcpuHandle } from "@supermachine/hypervisor";
import { VmmError } from "./errors.js";

/*
 * Shared memory: a few words, then a place for the state of each vCPU. A thread that waits watches
 * SEQUENCE, which changes with each of the others.
 */
const SEQUENCE = 0;
const COMMAND = 1;
/** Changes with each opening: whoever came to the gate before is let go, even if it is closed again by then. */
const OPENINGS = 2;
/** How often something was asked of all threads, what it is, and how many have done it. */
const REQUESTS = 3;
const REQUEST = 4;
const DONE = 5;
const HEADER_WORDS = 16;

const OPEN = 0;
const CLOSED = 1;
const STOP = 2;

/** Requests: to write the vCPU's state to its place, and to take the state that is there. */
const SAVE = 0;
const RESTORE = 1;

/** The place of one vCPU; its state takes 20 KB as a rule. */
const PLACE_BYTES = 64 << 10;
/** First in it: one more than the OPENINGS at which the thread came to wait, else 0. Then the length of the state. */
const PARKED_BYTES = 4;
const LENGTH_BYTES = 4;
const STATE_LIMIT_MS = 5000;

/** The state of a vCPU, on its thread. */
export type VcpuState = Pick<VcpuHandle, "saveState" | "restoreState">;

/** What vCPU threads pass between two runs of the guest: closed, it makes them wait, and save or replace what they hold. */
export class VcpuGate {
  readonly shared: SharedArrayBuffer;
  readonly #words: Int32Array;
  readonly #cpus: number;

  constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    this.#words = new Int32Array(shared);
    this.#cpus = Math.floor(shared.byteLength / PLACE_BYTES);
  }

  static create(cpus: number, isOpen: boolean): VcpuGate {
    const gate = new VcpuGate(new SharedArrayBuffer(placeOf(cpus)));
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

  /** Threads that wait at the closed gate, and stay there until it is opened. */
  get parkedCount(): number {
    const mark = Atomics.load(this.#words, OPENINGS) + 1;
    let count = 0;
    for (let cpu = 0; cpu < this.#cpus; cpu++) {
      if (Atomics.load(this.#words, parkedAt(cpu)) === mark) count++;
    }
    return count;
  }

  /** Whether all of them wait, and the gate is closed: their states can be asked for. */
  get areAllParked(): boolean {
    return Atomics.load(this.#words, COMMAND) === CLOSED && this.parkedCount === this.#cpus;
  }

  close(): void {
    this.#command(CLOSED);
  }

  open(): void {
    // In this order, or a thread that comes meanwhile would wait at an open gate.
    this.#command(OPEN);
    Atomics.add(this.#words, OPENINGS, 1);
    this.#change();
  }

  stop(): void {
    Atomics.store(this.#words, COMMAND, STOP);
    this.#change();
  }

  /** On a vCPU thread: waits until the gate opens, and does what is asked of the vCPU meanwhile. */
  wait(cpu: number, onParked: () => void, vcpu: VcpuState): void {
    const words = this.#words;
    const openings = Atomics.load(words, OPENINGS);
    if (Atomics.load(words, COMMAND) !== CLOSED) return;
    // Before it counts as parked: from then on requests may come.
    let served = Atomics.load(words, REQUESTS);
    Atomics.store(words, parkedAt(cpu), openings + 1);
    onParked();
    for (;;) {
      const sequence = Atomics.load(words, SEQUENCE);
      if (Atomics.load(words, OPENINGS) !== openings || this.stopping) break;
      const requests = Atomics.load(words, REQUESTS);
      if (requests !== served) {
        served = requests;
        this.#serve(cpu, vcpu);
        Atomics.add(words, DONE, 1);
        Atomics.notify(words, DONE);
      }
      Atomics.wait(words, SEQUENCE, sequence);
    }
    Atomics.store(words, parkedAt(cpu), 0);
  }

  /**
   * On the device thread, while all vCPUs wait: their states, in order. Blocks, so that no device does
   * anything between the first of them and what else belongs to the same moment.
   *
   * @throws VmmError `ERR_VMM_HYPERVISOR`
   */
  collectStates(): Uint8Array[] {
    this.#request(SAVE);
    return Array.from({ length: this.#cpus }, (_, cpu) => this.#readState(cpu));
  }

  /**
   * On the device thread, while all vCPUs wait: gives each of them a state. Blocks.
   *
   * @throws VmmError `ERR_VMM_HYPERVISOR`: which of them have theirs is not known then.
   */
  replaceStates(states: readonly Uint8Array[]): void {
    for (let cpu = 0; cpu < this.#cpus; cpu++) {
      this.#writeState(cpu, () => states[cpu] ?? new Uint8Array());
    }
    this.#request(RESTORE);
    for (let cpu = 0; cpu < this.#cpus; cpu++) this.#readState(cpu);
  }

  #request(request: number): void {
    const words = this.#words;
    const deadline = performance.now() + STATE_LIMIT_MS;
    Atomics.store(words, DONE, 0);
    Atomics.store(words, REQUEST, request);
    Atomics.add(words, REQUESTS, 1);
    this.#change();
    for (;;) {
      const done = Atomics.load(words, DONE);
      if (done === this.#cpus) return;
      const left = deadline - performance.now();
      if (left > 0) Atomics.wait(words, DONE, done, left);
      else throw new VmmError("ERR_VMM_HYPERVISOR", "a vCPU does not answer about its state");
    }
  }

  #serve(cpu: number, vcpu: VcpuState): void {
    if (Atomics.load(this.#words, REQUEST) === SAVE) {
      this.#writeState(cpu, () => vcpu.saveState());
      return;
    }
    this.#writeState(cpu, () => {
      vcpu.restoreState(this.#readState(cpu));
      return new Uint8Array();
    });
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

  /** The place of a vCPU's state: its length, negative for the text of an error, and the bytes. Empty: done. */
  #place(cpu: number): { length: Int32Array; bytes: Uint8Array } {
    const at = placeOf(cpu) + PARKED_BYTES;
    const end = placeOf(cpu + 1);
    return {
      length: new Int32Array(this.shared, at, 1),
      bytes: new Uint8Array(this.shared, at + LENGTH_BYTES, end - at - LENGTH_BYTES),
    };
  }

  #writeState(cpu: number, saveState: () => Uint8Array): void {
    const { length, bytes } = this.#place(cpu);
    try {
      const state = saveState();
      bytes.set(state);
      length[0] = state.length;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const text = Buffer.from(reason || "no reason is known");
      bytes.set(text.subarray(0, bytes.length));
      length[0] = -Math.min(text.length, bytes.length);
    }
  }

  #readState(cpu: number): Uint8Array {
    const { length, bytes } = this.#place(cpu);
    const [count = 0] = length;
    if (count >= 0) return bytes.slice(0, count);
    const reason = Buffer.from(bytes.slice(0, -count)).toString();
    throw new VmmError(
      "ERR_VMM_HYPERVISOR",
      `the state of vCPU ${cpu} cannot be read or replaced: ${reason}`,
    );
  }
}

function placeOf(cpu: number): number {
  return 4 * HEADER_WORDS + cpu * PLACE_BYTES;
}

/** In words. */
function parkedAt(cpu: number): number {
  return placeOf(cpu) / 4;
}
