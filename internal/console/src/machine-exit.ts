/** Why a machine ended. */
export type MachineExitReason =
  /** The guest switched itself off or reset: the normal end. */
  | "shutdown"
  /** The guest's kernel panicked. */
  | "panic"
  /** The guest's processor gave up (triple fault). */
  | "triple-fault"
  /** The host stopped the machine. */
  | "stopped"
  /** The guest touched memory that the host cannot back: see the `dax` option of shares. */
  | "memory-fault"
  /** The hypervisor could not run the guest on. */
  | "hypervisor-error";

/** The end of a machine. */
export interface MachineExit {
  readonly reason: MachineExitReason;
  /** One sentence for a person. */
  readonly message: string;
  /** The last lines of the guest's console, oldest first. */
  readonly console: readonly string[];
}
