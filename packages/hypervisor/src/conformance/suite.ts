import type { Hypervisor } from "../hypervisor.js";
import { Machine, type MachineOptions } from "./machine.js";
import type { DriverThread } from "./thread.js";

/** An eventfd as the suite uses it. */
export interface ConformanceEvent extends Disposable {
  readonly fd: number;
  signal(): void;
  /** Resets it; tells whether it was signalled. */
  drain(): boolean;
}

/** What the groups of tests share. */
export interface Suite {
  readonly hypervisor: Hypervisor;
  /** The second thread, ready. */
  thread(): DriverThread;
  createEvent(): ConformanceEvent;
  /** A machine that the second thread kicks when it hangs. */
  machine(options: MachineOptions): Machine;
}

export function createSuite(
  hypervisor: Hypervisor,
  thread: () => DriverThread,
  createEvent: () => ConformanceEvent,
): Suite {
  return {
    hypervisor,
    thread,
    createEvent,
    machine: (options) => new Machine(hypervisor, { ...options, thread: thread() }),
  };
}
