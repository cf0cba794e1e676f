import { closeSync, constants as fsConstants, openSync } from "node:fs";
import type {
  Availability,
  FileExtent,
  HostMemory,
  Hypervisor,
  VmOptions,
  VmToken,
  X86Host,
} from "@supermachine/hypervisor";
import { closeFd, FileWindow, Mapping } from "@supermachine-internal/libc";
import { KvmError } from "./errors.js";
import { checkExtension, ioctl } from "./ioctl.js";
import { DEFAULT_KICK_SIGNAL } from "./kick.js";
import { type CapabilityName, constants } from "./numbers.js";
import { getCpuid } from "./registers/cpuid.js";
import { getMsrIndexList } from "./registers/msr.js";
import { KvmVm } from "./vm.js";

/** Options of {@link Kvm}. */
export interface KvmOptions {
  /** The device. Default `/dev/kvm`. */
  readonly device?: string;
  /**
   * The signal that ends a running vCPU, used by the whole process for nothing else. Default
   * {@link DEFAULT_KICK_SIGNAL}; otherwise SIGUSR2 (12) or SIGIO (29). Real-time signals queue, so
   * kicks would pile up; Node.js has SIGUSR1; the others have meanings.
   */
  readonly kickSignal?: number;
}

/** Capabilities without which this driver cannot work; Linux has had all of them since 4.13. */
const required: readonly CapabilityName[] = [
  "KVM_CAP_USER_MEMORY",
  "KVM_CAP_EXT_CPUID",
  "KVM_CAP_SET_TSS_ADDR",
  "KVM_CAP_SET_IDENTITY_MAP_ADDR",
  "KVM_CAP_IMMEDIATE_EXIT",
];

/**
 * Guest-physical addresses that KVM takes on Intel processors for real mode: do not map memory here.
 * One page of identity map, then three of task state, below the top of the first 4 GiB.
 */
export const RESERVED_GUEST_RANGE = { address: 0xfffb_c000, size: 0x4000 } as const;

const WINDOW_UNIT = 2 << 20;

const kickSignals: ReadonlySet<number> = new Set([DEFAULT_KICK_SIGNAL, 12, 29]);

const remedies: Readonly<Record<string, string>> = {
  ENOENT:
    "load the kvm_intel or kvm_amd module; enable virtualization in the firmware; in a virtual machine, enable nested virtualization",
  EACCES: "add your user to the group kvm (sudo usermod -aG kvm $USER) and log in again",
  EPERM: "the container or sandbox around this process forbids the device: allow it there",
  ENODEV: "the processor's virtualization is off: enable it in the firmware",
  ENXIO: "load the kvm_intel or kvm_amd module",
  EBUSY: "another hypervisor holds the processor's virtualization: stop it",
};

/** The Linux kernel's hypervisor. Making one opens nothing; each VM opens the device anew. */
export class Kvm implements Hypervisor {
  readonly name = "kvm";
  readonly x86: X86Host = {
    supportedCpuid: () => this.#withDevice((fd) => getCpuid(fd, "KVM_GET_SUPPORTED_CPUID")),
    supportedMsrs: () => this.#withDevice(getMsrIndexList),
  };
  readonly #device: string;
  readonly #kickSignal: number;

  constructor(options: KvmOptions = {}) {
    this.#device = options.device ?? "/dev/kvm";
    this.#kickSignal = options.kickSignal ?? DEFAULT_KICK_SIGNAL;
    if (!kickSignals.has(this.#kickSignal)) {
      const message = `signal ${options.kickSignal} cannot kick vCPUs: choose ${[...kickSignals].join(", ")}`;
      throw new KvmError("ERR_KVM_ARGUMENT", message);
    }
  }

  isAvailable(): Availability {
    if (process.platform !== "linux" || process.arch !== "x64") {
      const host = `${process.platform} on ${process.arch}`;
      return { usable: false, reason: `KVM needs Linux on x86-64; this is ${host}` };
    }
    try {
      this.#withDevice(() => undefined);
      return { usable: true };
    } catch (error) {
      return { usable: false, reason: error instanceof Error ? error.message : String(error) };
    }
  }

  createVm(options: VmOptions = {}): KvmVm {
    return this.#withDevice((device) => {
      const { maxVcpus = 1 } = options;
      const limit = checkExtension(device, "KVM_CAP_MAX_VCPUS");
      if (maxVcpus > limit) {
        throw new KvmError("ERR_KVM_ARGUMENT", `${maxVcpus} vCPUs: this host allows ${limit}`);
      }
      const runSize = ioctl(device, "KVM_GET_VCPU_MMAP_SIZE", 0);
      const fd = ioctl(device, "KVM_CREATE_VM", 0);
      try {
        const identityMap = Buffer.alloc(8);
        identityMap.writeBigUInt64LE(BigInt(RESERVED_GUEST_RANGE.address));
        ioctl(fd, "KVM_SET_IDENTITY_MAP_ADDR", identityMap);
        ioctl(fd, "KVM_SET_TSS_ADDR", RESERVED_GUEST_RANGE.address + 0x1000);
        const msrIndices = getMsrIndexList(device);
        return new KvmVm(fd, { runSize, kickSignal: this.#kickSignal, msrIndices });
      } catch (error) {
        closeFd(fd);
        throw error;
      }
    });
  }

  attachVm(token: VmToken): KvmVm {
    return KvmVm.attach(token);
  }

  allocateMemory(size: number, contents: readonly FileExtent[] = []): HostMemory {
    if (!Number.isSafeInteger(size) || size <= 0) {
      throw new KvmError("ERR_KVM_ARGUMENT", `cannot allocate ${size} bytes of memory`);
    }
    const memory = Mapping.anonymous(Math.ceil(size / 4096) * 4096);
    try {
      for (const { fd, fileOffset, memoryOffset, length } of contents) {
        memory.place(fd, fileOffset, memoryOffset, length);
      }
      return memory;
    } catch (error) {
      memory.close();
      throw error;
    }
  }

  /** KVM follows what the process maps at a slot's addresses, so mmap(2) is all there is to a window. */
  createFileWindow(size: number): FileWindow {
    if (!Number.isSafeInteger(size) || size <= 0 || size % WINDOW_UNIT !== 0) {
      const message = `a window of ${size} bytes: give a multiple of ${WINDOW_UNIT}`;
      throw new KvmError("ERR_KVM_ARGUMENT", message);
    }
    try {
      return new FileWindow(size);
    } catch (cause) {
      const message = `the host has no addresses for a window of ${size} bytes: ask for less`;
      throw new KvmError("ERR_KVM_ARGUMENT", message, { cause });
    }
  }

  #withDevice<T>(use: (fd: number) => T): T {
    const fd = this.#openDevice();
    try {
      return use(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Opens the device and checks that it speaks what this driver needs. */
  #openDevice(): number {
    let fd: number;
    try {
      fd = openSync(this.#device, fsConstants.O_RDWR);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? "unknown error";
      const remedy = remedies[code] ?? "see the cause";
      throw new KvmError("ERR_KVM_DEVICE", `cannot open ${this.#device}: ${code}: ${remedy}`, {
        cause,
      });
    }
    try {
      this.#checkDevice(fd);
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  #checkDevice(fd: number): void {
    let version: number;
    try {
      version = ioctl(fd, "KVM_GET_API_VERSION", 0);
    } catch (cause) {
      const message = `${this.#device} is not a KVM device: check the path`;
      throw new KvmError("ERR_KVM_DEVICE", message, { cause });
    }
    // "Applications should refuse to run if KVM_GET_API_VERSION returns a value other than 12."
    if (version !== constants.KVM_API_VERSION) {
      const message = `${this.#device} has KVM API version ${version}, not ${constants.KVM_API_VERSION}`;
      throw new KvmError("ERR_KVM_DEVICE", message);
    }
    const missing = required.filter((name) => checkExtension(fd, name) === 0);
    if (missing.length > 0) {
      const message = `${this.#device} lacks ${missing.join(", ")}: update the host's kernel to Linux 4.13 or newer`;
      throw new KvmError("ERR_KVM_DEVICE", message);
    }
  }
}
