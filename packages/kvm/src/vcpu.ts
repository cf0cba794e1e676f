import {
  type ExitReason,
  ExitReason as Reason,
  type VcpuHandle,
  type VcpuKickToken,
} from "@supermachine/hypervisor";
import { closeFd, Mapping } from "@supermachine-internal/libc";
import { ioctlError, KvmError } from "./errors.js";
import { KvmExit } from "./exits.js";
import { runVcpu } from "./ioctl.js";
import { KickTarget } from "./kick.js";
import { settleVcpu } from "./registers/used-vcpu.js";
import { restoreVcpuState, saveVcpuState, type VcpuStateHost } from "./registers/vcpu-state.js";
import { KvmX86Vcpu } from "./registers/x86-vcpu.js";

const EINTR = 4;
const EAGAIN = 11;
const EFAULT = 14;

/** A KVM vCPU: owns its file descriptor and the mapping of its run page. */
export class KvmVcpu implements VcpuHandle {
  readonly index: number;
  readonly exit: KvmExit;
  readonly x86: KvmX86Vcpu;
  readonly #fd: number;
  readonly #runPage: Mapping;
  readonly #kickTarget: KickTarget;
  readonly #stateHost: VcpuStateHost;
  /** The processor that `restoreState` made it, by its CPUID, which no longer changes once it has run. */
  #cpuid: Uint8Array | undefined;
  #hasRun = false;
  #open = true;

  /** Takes ownership of `fd`. `runSize` is KVM_GET_VCPU_MMAP_SIZE. */
  constructor(
    fd: number,
    index: number,
    runSize: number,
    kickSignal: number,
    stateHost: VcpuStateHost,
  ) {
    this.#fd = fd;
    this.index = index;
    this.#stateHost = stateHost;
    try {
      this.#runPage = Mapping.file(fd, runSize, 0, { shared: true });
    } catch (error) {
      closeFd(fd);
      throw error;
    }
    try {
      const page = this.#runPage.view();
      this.exit = new KvmExit(page);
      this.#kickTarget = new KickTarget(page, kickSignal);
      this.x86 = new KvmX86Vcpu(() => this.#openFd(), stateHost.xsaveSize);
    } catch (error) {
      this.#runPage.close();
      closeFd(fd);
      throw error;
    }
  }

  get kickToken(): VcpuKickToken {
    return this.#kickTarget.token;
  }

  run(): ExitReason {
    this.#hasRun = true;
    const errno = runVcpu(this.#openFd());
    if (errno === 0) return this.exit.reason;
    if (errno === EFAULT) {
      this.exit.setMemoryFault();
      return Reason.MEMORY_FAULT;
    }
    // EAGAIN: a vCPU that waited for its start-up IPI has got one.
    if (errno !== EINTR && errno !== EAGAIN) throw ioctlError("KVM_RUN", errno);
    this.#kickTarget.acknowledge();
    return Reason.INTERRUPTED;
  }

  completeExit(): ExitReason {
    const fd = this.#openFd();
    this.#kickTarget.arm();
    const errno = runVcpu(fd);
    this.#kickTarget.disarm();
    if (errno === 0) return this.exit.reason;
    if (errno !== EINTR && errno !== EAGAIN) throw ioctlError("KVM_RUN", errno);
    return Reason.INTERRUPTED;
  }

  saveState(): Uint8Array {
    return saveVcpuState(this.#openFd(), this.#stateHost);
  }

  restoreState(state: Uint8Array): void {
    const fd = this.#openFd();
    if (this.#hasRun) settleVcpu(fd, this.#stateHost);
    const cpuid = this.#hasRun ? (this.#cpuid ?? new Uint8Array()) : undefined;
    this.#cpuid = restoreVcpuState(fd, this.#stateHost, state, cpuid);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#kickTarget.close();
    this.#runPage.close();
    closeFd(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Guards every use: the number of a closed fd may by now name another file. */
  #openFd(): number {
    if (!this.#open) throw new KvmError("ERR_KVM_CLOSED", `vCPU ${this.index} is closed`);
    return this.#fd;
  }
}
