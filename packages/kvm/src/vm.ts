import { readlinkSync } from "node:fs";
import type {
  DoorbellOptions,
  MemorySlot,
  VcpuKickToken,
  VmCapabilities,
  VmHandle,
  VmToken,
} from "@supermachine/hypervisor";
import { addressOf, closeFd, lazyFunction } from "@supermachine-internal/libc";
import {
  kvm_dirty_log,
  kvm_ioeventfd,
  kvm_irq_level,
  kvm_irqfd,
  kvm_userspace_memory_region,
} from "./abi.js";
import { KvmError } from "./errors.js";
import {
  createInterruptController,
  hasInterruptController,
  KvmX86Vm,
} from "./interrupt-controller.js";
import { checkExtension, ioctl } from "./ioctl.js";
import { kick } from "./kick.js";
import { constants } from "./numbers.js";
import { KvmVcpu } from "./vcpu.js";

const PAGE_SIZE = 4096;
const F_DUPFD_CLOEXEC = 1030;

const fcntlNative = lazyFunction<(fd: number, command: number, argument: number) => number>(
  "int fcntl(int fd, int cmd, long arg)",
);

/** What a thread needs to attach. `fd` is the creator's: the attached handle works on a duplicate. */
interface KvmVmToken extends VmToken {
  readonly hypervisor: "kvm";
  readonly processId: number;
  readonly fd: number;
  /** KVM_GET_VCPU_MMAP_SIZE in bytes. */
  readonly runSize: number;
  readonly kickSignal: number;
  /** KVM_GET_MSR_INDEX_LIST, which only the device tells. */
  readonly msrIndices: readonly number[];
}

/** What a VM's creator has learnt from the device. */
export type KvmVmParameters = Pick<KvmVmToken, "runSize" | "kickSignal" | "msrIndices">;

/** Checks a token, which may have come through any channel. */
function kvmToken(token: VmToken): KvmVmToken {
  const { hypervisor, processId, fd, runSize, kickSignal, msrIndices } = token;
  const numbers = [fd, runSize, kickSignal].every((value) => Number.isInteger(value));
  const isOurs = hypervisor === "kvm" && processId === process.pid;
  if (!isOurs || !numbers || !Array.isArray(msrIndices)) {
    throw new KvmError("ERR_KVM_TOKEN", "the VM token is not of a KVM VM of this process");
  }
  return token as KvmVmToken;
}

/** A second file descriptor of the VM behind `fd`, owned by the caller. */
function duplicate(original: number): number {
  const fd = fcntlNative(original, F_DUPFD_CLOEXEC, 0);
  // The creator may have closed its handle, and the number may be another file's by now.
  if (fd !== -1) {
    if (readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:kvm-vm") return fd;
    closeFd(fd);
  }
  throw new KvmError("ERR_KVM_TOKEN", "the VM that the token names is closed");
}

/** A KVM virtual machine: owns a file descriptor of it. */
export class KvmVm implements VmHandle {
  readonly token: VmToken;
  readonly capabilities: VmCapabilities;
  readonly x86: KvmX86Vm;
  readonly #fd: number;
  readonly #parameters: KvmVmParameters;
  readonly #irqLevel = Buffer.alloc(kvm_irq_level.size);
  /** Bytes of each slot that this handle mapped with a dirty log. */
  readonly #logged = new Map<number, number>();
  #open = true;

  /** Takes ownership of `fd`. */
  constructor(fd: number, parameters: KvmVmParameters) {
    this.#fd = fd;
    this.#parameters = parameters;
    const token: KvmVmToken = {
      hypervisor: "kvm",
      processId: process.pid,
      fd,
      ...parameters,
    };
    this.token = token;
    this.x86 = new KvmX86Vm(() => this.#openFd());
    this.capabilities = {
      interruptController: checkExtension(fd, "KVM_CAP_IRQCHIP") > 0,
      irqfd: checkExtension(fd, "KVM_CAP_IRQFD") > 0,
      ioeventfd: checkExtension(fd, "KVM_CAP_IOEVENTFD") > 0,
      readOnlyMemory: checkExtension(fd, "KVM_CAP_READONLY_MEM") > 0,
      dirtyLog: true,
    };
  }

  /** A handle with a file descriptor of its own on the VM that `token` names. */
  static attach(token: VmToken): KvmVm {
    const { fd: original, runSize, kickSignal, msrIndices } = kvmToken(token);
    const fd = duplicate(original);
    try {
      return new KvmVm(fd, { runSize, kickSignal, msrIndices });
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  mapMemory({ slot, guestAddress, hostAddress, size, readOnly, logDirty }: MemorySlot): void {
    // KVM takes a size of 0 as "unmap": never by accident.
    if (!Number.isSafeInteger(size) || size <= 0) {
      throw new KvmError("ERR_KVM_ARGUMENT", `a memory slot cannot have ${size} bytes`);
    }
    const flags =
      (readOnly === true ? constants.KVM_MEM_READONLY : 0) |
      (logDirty === true ? constants.KVM_MEM_LOG_DIRTY_PAGES : 0);
    this.#setMemory(slot, flags, guestAddress, size, hostAddress);
    if (logDirty === true) this.#logged.set(slot, size);
    else this.#logged.delete(slot);
  }

  unmapMemory(slot: number): void {
    this.#setMemory(slot, 0, 0, 0, 0n);
    this.#logged.delete(slot);
  }

  takeDirtyLog(slot: number): Uint8Array {
    const size = this.#logged.get(slot);
    if (size === undefined) {
      const message = `this handle has not mapped slot ${slot} with logDirty`;
      throw new KvmError("ERR_KVM_ARGUMENT", message);
    }
    // The kernel writes whole unsigned longs.
    const bitmap = Buffer.alloc(Math.ceil(size / PAGE_SIZE / 64) * 8);
    const log = Buffer.alloc(kvm_dirty_log.size);
    kvm_dirty_log.encode({ slot, padding1: 0, dirty_bitmap: addressOf(bitmap) }, log);
    ioctl(this.#openFd(), "KVM_GET_DIRTY_LOG", log);
    return bitmap;
  }

  createVcpu(index: number): KvmVcpu {
    const fd = ioctl(this.#openFd(), "KVM_CREATE_VCPU", index);
    const { runSize, kickSignal, msrIndices } = this.#parameters;
    return new KvmVcpu(fd, index, runSize, kickSignal, {
      hasXcrs: checkExtension(this.#fd, "KVM_CAP_XCRS") > 0,
      xsaveSize: checkExtension(this.#fd, "KVM_CAP_XSAVE2"),
      hasLapic: hasInterruptController(this.#fd),
      hasNestedState: checkExtension(this.#fd, "KVM_CAP_NESTED_STATE") > 0,
      msrIndices,
    });
  }

  createInterruptController(): void {
    createInterruptController(this.#openFd());
  }

  setInterruptLine(gsi: number, level: boolean): void {
    this.#irqLevel.writeUInt32LE(gsi, kvm_irq_level.offsets.irq);
    this.#irqLevel.writeUInt32LE(level ? 1 : 0, kvm_irq_level.offsets.level);
    ioctl(this.#openFd(), "KVM_IRQ_LINE", this.#irqLevel);
  }

  bindInterrupt(gsi: number, eventFd: number): Disposable {
    const set = (flags: number) => {
      const bytes = Buffer.alloc(kvm_irqfd.size);
      kvm_irqfd.encode({ fd: eventFd, gsi, flags, resamplefd: 0, pad: new Uint8Array(16) }, bytes);
      ioctl(this.#openFd(), "KVM_IRQFD", bytes);
    };
    set(0);
    return this.#binding(() => set(constants.KVM_IRQFD_FLAG_DEASSIGN));
  }

  bindDoorbell(address: number, eventFd: number, options: DoorbellOptions = {}): Disposable {
    const { value } = options;
    const match = value === undefined ? 0 : constants.KVM_IOEVENTFD_FLAG_DATAMATCH;
    const set = (flags: number) => {
      const bytes = Buffer.alloc(kvm_ioeventfd.size);
      kvm_ioeventfd.encode(
        {
          datamatch: BigInt(value ?? 0),
          addr: BigInt(address),
          len: 4,
          fd: eventFd,
          flags: flags | match,
          pad: new Uint8Array(36),
        },
        bytes,
      );
      ioctl(this.#openFd(), "KVM_IOEVENTFD", bytes);
    };
    set(0);
    return this.#binding(() => set(constants.KVM_IOEVENTFD_FLAG_DEASSIGN));
  }

  kick(token: VcpuKickToken): void {
    kick(token);
  }

  saveState(): Uint8Array {
    return this.x86.saveState();
  }

  restoreState(state: Uint8Array): void {
    this.x86.restoreState(state);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #setMemory(slot: number, flags: number, address: number, size: number, host: bigint): void {
    const region = Buffer.alloc(kvm_userspace_memory_region.size);
    kvm_userspace_memory_region.encode(
      {
        slot,
        flags,
        guest_phys_addr: BigInt(address),
        memory_size: BigInt(size),
        userspace_addr: host,
      },
      region,
    );
    ioctl(this.#openFd(), "KVM_SET_USER_MEMORY_REGION", region);
  }

  /** Undoes a binding once; a closed VM took its bindings with it. */
  #binding(unbind: () => void): Disposable {
    let bound = true;
    return {
      [Symbol.dispose]: () => {
        if (!bound) return;
        bound = false;
        if (this.#open) unbind();
      },
    };
  }

  /** Guards every use: the number of a closed fd may by now name another file. */
  #openFd(): number {
    if (!this.#open) throw new KvmError("ERR_KVM_CLOSED", "the VM is closed");
    return this.#fd;
  }
}
