import type { RequestSlot } from "./slot.js";

/** The requests that a backend is still at, which the client may interrupt. */
export class PendingRequests {
  readonly #slots = new Set<RequestSlot>();

  get size(): number {
    return this.#slots.size;
  }

  add(slot: RequestSlot): void {
    this.#slots.add(slot);
  }

  delete(slot: RequestSlot): void {
    this.#slots.delete(slot);
  }

  /** Interrupts the request with this `unique`, given as two halves; false when none has it. */
  interrupt(uniqueLow: number, uniqueHigh: number): boolean {
    for (const slot of this.#slots) {
      if (slot.uniqueLow !== uniqueLow || slot.uniqueHigh !== uniqueHigh) continue;
      slot.interrupt();
      return true;
    }
    return false;
  }

  interruptAll(): void {
    for (const slot of this.#slots) slot.interrupt();
  }
}
