import type { Arm64Vcpu } from "./arm64.js";
import type { ExitReason, VcpuExit } from "./exit.js";
import type { X86Vcpu } from "./x86.js";

/** Names a vCPU to {@link VmHandle.kick}. Structured-clonable within the process; opaque. */
export type VcpuKickToken = { readonly hypervisor: string } & Readonly<Record<string, unknown>>;

/** A virtual processor. Create, run and close it on one thread (a rule of HVF, a speed matter on KVM). */
export interface VcpuHandle extends Disposable {
  /** The index given to {@link VmHandle.createVcpu}: the APIC id on x86. */
  readonly index: number;
  /** The last exit: the same object for the life of the vCPU. */
  readonly exit: VcpuExit;
  /** Lets any thread of this process make `run()` return. */
  readonly kickToken: VcpuKickToken;
  /** The register model, on x86-64. */
  readonly x86?: X86Vcpu;
  /** The register model, on arm64. */
  readonly arm64?: Arm64Vcpu;
  /**
   * Runs the guest on this thread until something needs the host, and says what. Blocks: call it on
   * a thread of its own. A read exit (IO, MMIO) is answered by filling `exit.data` before the next run.
   *
   * @throws {@link HypervisorError} when the vCPU cannot run at all.
   */
  run(): ExitReason;
  /**
   * Completes the I/O of the last exit without running further guest instructions. Registers are
   * consistent only after that: call it before saving them when the last exit was IO or MMIO. Returns
   * INTERRUPTED when done; another IO or MMIO exit is the rest of the same instruction: serve it, call again.
   */
  completeExit(): ExitReason;
  /**
   * The whole state of the processor, for {@link VcpuHandle.restoreState}: bytes in the driver's own format.
   * Take it outside `run()`, after {@link VcpuHandle.completeExit}, while no vCPU of the VM runs.
   */
  saveState(): Uint8Array;
  /**
   * Makes a vCPU what `saveState()` was called on: a new one that has not run, or one that was made that
   * before, by a state of the same processor. While no vCPU of the VM runs, and before
   * {@link VmHandle.restoreState}.
   *
   * @throws {@link HypervisorError} when the bytes are not such a state or this host cannot take it: the
   * vCPU is of no use then.
   */
  restoreState(state: Uint8Array): void;
  /** Releases the vCPU. Idempotent. The thread that runs it calls this, never during `run()`. */
  close(): void;
}
