import type { VcpuHandle, VcpuKickToken } from "./vcpu.js";
import type { X86Vm } from "./x86.js";

/** Options of {@link Hypervisor.createVm}. */
export interface VmOptions {
  /** How many vCPUs the VM will have at most; some platforms must know in advance. Default 1. */
  readonly maxVcpus?: number;
}

/** Names a VM to {@link Hypervisor.attachVm} in another thread of this process. Structured-clonable; opaque. */
export type VmToken = { readonly hypervisor: string } & Readonly<Record<string, unknown>>;

/** Host memory shown to the guest. Addresses and size are multiples of the host's page size. */
export interface MemorySlot {
  /** Identifies the mapping within the VM, from 0. */
  readonly slot: number;
  /** Guest-physical address (GPA) of the first byte. */
  readonly guestAddress: number;
  /** Host address of the first byte. The memory must stay mapped in this process as long as the slot. */
  readonly hostAddress: bigint;
  /** Bytes. */
  readonly size: number;
  /** Guest writes become MMIO exits. Default false. */
  readonly readOnly?: boolean;
  /** Record which pages the guest writes, for {@link VmHandle.takeDirtyLog}. Default false. */
  readonly logDirty?: boolean;
}

/** What a VM can do in the kernel; without one of these the VMM does the same in its exit loop. */
export interface VmCapabilities {
  /** {@link VmHandle.createInterruptController} and {@link VmHandle.setInterruptLine} work. */
  readonly interruptController: boolean;
  /** {@link VmHandle.bindInterrupt} works (irqfd). */
  readonly irqfd: boolean;
  /** {@link VmHandle.bindDoorbell} works (ioeventfd). */
  readonly ioeventfd: boolean;
  /** {@link MemorySlot.readOnly} works. */
  readonly readOnlyMemory: boolean;
  /** {@link MemorySlot.logDirty} works. */
  readonly dirtyLog: boolean;
}

/** Options of {@link VmHandle.bindDoorbell}. */
export interface DoorbellOptions {
  /** Fire only when the guest writes this value: the queue index of virtio-mmio's QueueNotify. Default: any. */
  readonly value?: number;
}

/** A virtual machine: memory, vCPUs, interrupts. Policy (devices, boot) belongs to the VMM above. */
export interface VmHandle extends Disposable {
  /** Lets another thread of this process attach to the VM. */
  readonly token: VmToken;
  readonly capabilities: VmCapabilities;
  /** What only x86 VMs have. */
  readonly x86?: X86Vm;

  /** Shows host memory to the guest. @throws {@link HypervisorError} when it overlaps another slot or is misaligned. */
  mapMemory(slot: MemorySlot): void;
  /** Takes a slot's memory away: accesses become MMIO exits. */
  unmapMemory(slot: number): void;
  /**
   * The pages of a `logDirty` slot written since the last call, and forgets them: bit `n` of the
   * bitmap (bit `n % 8` of byte `n >> 3`) is the slot's page `n` of 4 KiB. Only for slots this handle mapped.
   */
  takeDirtyLog(slot: number): Uint8Array;

  /** Makes a vCPU; call it on the thread that will run it. `index` is 0 or more, below `maxVcpus`. */
  createVcpu(index: number): VcpuHandle;

  /** Makes the in-kernel interrupt controller (x86: PICs, IOAPIC, local APICs and PIT). Before the first vCPU. */
  createInterruptController(): void;
  /** Sets the level of an interrupt controller input. `gsi` is the global system interrupt number. */
  setInterruptLine(gsi: number, level: boolean): void;
  /**
   * Delivers an edge on `gsi` each time `eventFd` is signalled, without any thread of ours. Dispose to
   * unbind; the caller keeps ownership of the eventfd.
   */
  bindInterrupt(gsi: number, eventFd: number): Disposable;
  /**
   * Signals `eventFd` instead of an MMIO exit when the guest writes 4 bytes to `address`. Dispose to
   * unbind; the caller keeps ownership of the eventfd.
   */
  bindDoorbell(address: number, eventFd: number, options?: DoorbellOptions): Disposable;

  /**
   * Makes that vCPU's `run()` return INTERRUPTED promptly, from any thread of the process. A kick that
   * comes while the vCPU is outside `run()` ends the next run before its first instruction. Harmless on
   * a closed vCPU.
   */
  kick(token: VcpuKickToken): void;

  /**
   * What the VM has beside memory and vCPUs, for {@link VmHandle.restoreState}: its interrupt controller
   * and its clock. Take it while no vCPU runs. Bytes in the driver's own format.
   */
  saveState(): Uint8Array;
  /**
   * Brings a saved state into a new VM with an interrupt controller, after the state of every vCPU and
   * before any of them runs. The clock goes on from where it was saved.
   *
   * @throws {@link HypervisorError} when the bytes are not such a state.
   */
  restoreState(state: Uint8Array): void;

  /** Releases this handle. Idempotent. The VM goes with its last handle and vCPU. */
  close(): void;
}
