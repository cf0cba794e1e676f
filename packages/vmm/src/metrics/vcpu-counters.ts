import { ExitReason } from "@supermachine/hypervisor";
import type { ThreadTime } from "./usage.js";

/**
 * Slots of one vCPU, 64-bit floats: the thread's id, its times before it ran this vCPU, then a count per exit
 * reason.
 */
const THREAD_ID = 0;
const CPU_BEFORE = 1;
const WAIT_BEFORE = 2;
const EXITS = 3;
const reasons = Object.entries(ExitReason);
/** A multiple of a cache line, so that two vCPUs never write to the same one. */
const SLOTS = Math.ceil((EXITS + reasons.length) / 8) * 8;

/**
 * Counters of vCPUs in memory that the threads share. Each slot has one writer and needs no atomic
 * access: a reader may see a count that is a moment old.
 */
export class VcpuCounters {
  readonly #slots: Float64Array;
  readonly #first: number;

  static byteLength(cpus: number): number {
    return cpus * SLOTS * Float64Array.BYTES_PER_ELEMENT;
  }

  constructor(shared: SharedArrayBuffer, cpu: number) {
    this.#slots = new Float64Array(shared);
    this.#first = cpu * SLOTS;
  }

  /** The thread that runs the vCPU, as the host's kernel numbers it; 0 before it runs, or where unknown. */
  get threadId(): number {
    return this.#slots[this.#first + THREAD_ID] ?? 0;
  }

  /** Called by that thread when it takes the vCPU; `before`: what it has done already, for others. */
  begin(threadId: number, before: ThreadTime | undefined): void {
    this.#slots[this.#first + CPU_BEFORE] = before?.cpuSeconds ?? 0;
    this.#slots[this.#first + WAIT_BEFORE] = before?.waitSeconds ?? 0;
    this.#slots[this.#first + THREAD_ID] = threadId;
  }

  /** The part of the thread's time that is this vCPU's. */
  own({ cpuSeconds, waitSeconds }: ThreadTime): ThreadTime {
    return {
      cpuSeconds: cpuSeconds - (this.#slots[this.#first + CPU_BEFORE] ?? 0),
      waitSeconds: waitSeconds - (this.#slots[this.#first + WAIT_BEFORE] ?? 0),
    };
  }

  count(reason: ExitReason): void {
    const slot = this.#first + EXITS + reason;
    this.#slots[slot] = (this.#slots[slot] ?? 0) + 1;
  }

  /** Exits so far by the lower-case name of their reason; only those that happened. */
  exits(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const [name, reason] of reasons) {
      const count = this.#slots[this.#first + EXITS + reason] ?? 0;
      if (count > 0) counts[name.toLowerCase()] = count;
    }
    return counts;
  }
}
