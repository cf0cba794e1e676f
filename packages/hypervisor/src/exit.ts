/**
 * Why {@link VcpuHandle.run} returned. Small integers, so that a device loop is one dense `switch`.
 * A driver maps its platform's reasons to these; `VcpuExit.rawReason` keeps the platform's own.
 */
export const ExitReason = {
  /** A reason that has no name here: see `rawReason`. */
  UNKNOWN: 0,
  /** x86 port I/O: `port`, `size`, `count`, `isWrite`, `data`. */
  IO: 1,
  /** Access to a guest-physical address that no writable memory slot backs: `address`, `length`, `isWrite`, `data`. */
  MMIO: 2,
  /** The guest executed HLT (only without an in-kernel interrupt controller). */
  HLT: 3,
  /** Triple fault: the guest cannot go on. */
  SHUTDOWN: 4,
  /** The guest asked for power-off, reset or crash through the hypervisor: `systemEvent`. */
  SYSTEM_EVENT: 5,
  /** A kick or another signal ended the run; nothing to serve. May be spurious. */
  INTERRUPTED: 6,
  /** The hypervisor cannot run this guest state: `describe()`. */
  INTERNAL_ERROR: 7,
  /** The processor refused the vCPU state: `describe()`. */
  FAIL_ENTRY: 8,
  /** A breakpoint or single step that the host asked for. */
  DEBUG: 9,
  /** The guest can take an interrupt now (only when the host asked to be told). */
  INTERRUPT_WINDOW: 10,
  /**
   * The guest accessed a slot whose host memory cannot be accessed so. Running again repeats the access.
   * Where the hypervisor emulates the instruction, the access is an MMIO exit instead.
   */
  MEMORY_FAULT: 11,
} as const;

/** One of the {@link ExitReason} values. */
export type ExitReason = (typeof ExitReason)[keyof typeof ExitReason];

/** What the guest asked for in an {@link ExitReason.SYSTEM_EVENT} exit. */
export const SystemEvent = { SHUTDOWN: 1, RESET: 2, CRASH: 3 } as const;

/**
 * The exit that {@link VcpuHandle.run} just returned: one view over the run page, reused by the next
 * run. Which members mean something depends on the exit reason; the others are unspecified.
 */
export interface VcpuExit {
  /** IO: the port, 0 to 0xffff. */
  readonly port: number;
  /** IO: bytes of one item: 1, 2 or 4. */
  readonly size: number;
  /** IO: items; more than one for `rep ins` and `rep outs`. */
  readonly count: number;
  /** MMIO: the guest-physical address of the access. */
  readonly address: number;
  /** IO and MMIO: bytes in `data` that belong to this exit: `size * count`, or the access's 1 to 8. */
  readonly length: number;
  /** IO and MMIO: true when the guest writes (`data` holds what), false when it reads (fill `data`). */
  readonly isWrite: boolean;
  /**
   * IO and MMIO: the bytes written or to be read, little-endian, from offset 0 on; use no more than
   * `length`. What a read leaves there reaches the guest when the vCPU runs again.
   */
  readonly data: DataView;
  /**
   * The first item of `data` as an unsigned number, of `size` (IO) or `length` (MMIO) bytes; of an
   * 8-byte or odd-sized access only the low 4 bytes are read, and a write clears the others.
   */
  value: number;
  /** SYSTEM_EVENT: one of {@link SystemEvent}, or another platform number. */
  readonly systemEvent: number;
  /** The platform's exit reason, such as `KVM_EXIT_IO`. */
  readonly rawReason: number;
  /** One line about the exit for an error message or a log. Allocates: not for the hot path. */
  describe(): string;
}
