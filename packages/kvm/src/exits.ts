import { ExitReason, type VcpuExit } from "@supermachine/hypervisor";
import {
  kvm_run,
  kvm_run_emulation_failure,
  kvm_run_fail_entry,
  kvm_run_hw,
  kvm_run_internal,
  kvm_run_io,
  kvm_run_mmio,
  kvm_run_system_event,
} from "./abi.js";
import { constants } from "./numbers.js";

/** The union of kvm_run starts where its common part ends. */
const UNION = kvm_run.size;

const EXIT_REASON = kvm_run.offsets.exit_reason;
const IO_DIRECTION = UNION + kvm_run_io.offsets.direction;
const IO_SIZE = UNION + kvm_run_io.offsets.size;
const IO_PORT = UNION + kvm_run_io.offsets.port;
const IO_COUNT = UNION + kvm_run_io.offsets.count;
const IO_DATA_OFFSET = UNION + kvm_run_io.offsets.data_offset;
const MMIO_ADDRESS = UNION + kvm_run_mmio.offsets.phys_addr;
const MMIO_DATA = UNION + kvm_run_mmio.offsets.data;
const MMIO_LENGTH = UNION + kvm_run_mmio.offsets.len;
const MMIO_IS_WRITE = UNION + kvm_run_mmio.offsets.is_write;

const names = new Map<number, string>();
for (const [name, value] of Object.entries(constants)) {
  if (name.startsWith("KVM_EXIT_")) names.set(value, name);
}

/** `<linux/kvm.h>` of Linux 6.8 and later; its union member starts with flags, gpa and size. */
const KVM_EXIT_MEMORY_FAULT = 39;
names.set(KVM_EXIT_MEMORY_FAULT, "KVM_EXIT_MEMORY_FAULT");

/** Indexed by KVM's exit reason; a table, because every exit passes through it. */
const reasons = new Array<ExitReason>(64).fill(ExitReason.UNKNOWN);
reasons[constants.KVM_EXIT_IO] = ExitReason.IO;
reasons[constants.KVM_EXIT_MMIO] = ExitReason.MMIO;
reasons[constants.KVM_EXIT_HLT] = ExitReason.HLT;
reasons[constants.KVM_EXIT_DEBUG] = ExitReason.DEBUG;
reasons[constants.KVM_EXIT_IRQ_WINDOW_OPEN] = ExitReason.INTERRUPT_WINDOW;
reasons[constants.KVM_EXIT_SHUTDOWN] = ExitReason.SHUTDOWN;
reasons[constants.KVM_EXIT_FAIL_ENTRY] = ExitReason.FAIL_ENTRY;
reasons[constants.KVM_EXIT_INTR] = ExitReason.INTERRUPTED;
reasons[constants.KVM_EXIT_INTERNAL_ERROR] = ExitReason.INTERNAL_ERROR;
reasons[constants.KVM_EXIT_SYSTEM_EVENT] = ExitReason.SYSTEM_EVENT;
reasons[KVM_EXIT_MEMORY_FAULT] = ExitReason.MEMORY_FAULT;

const internalErrors = [
  "unknown",
  "an instruction could not be emulated",
  "an exception was raised while emulating one",
  "an event could not be delivered",
  "unexpected hardware exit",
];

/** The exit as the kernel left it in the run page. Getters read memory in place. */
export class KvmExit implements VcpuExit {
  readonly #page: DataView;
  readonly #mmioData: DataView;
  #ioData: DataView;
  #ioDataOffset: number;

  constructor(page: ArrayBuffer) {
    this.#page = new DataView(page);
    this.#mmioData = new DataView(page, MMIO_DATA, 8);
    // The kernel always uses the page after the run page (KVM_PIO_PAGE_OFFSET); read it all the same.
    this.#ioDataOffset = 4096;
    this.#ioData = new DataView(page, this.#ioDataOffset);
  }

  /** The seam's reason for the exit in the page. */
  get reason(): ExitReason {
    return reasons[this.rawReason] ?? ExitReason.UNKNOWN;
  }

  get rawReason(): number {
    return this.#page.getUint32(EXIT_REASON, true);
  }

  /** Puts into the page what Linux before 6.8 leaves to KVM_RUN's EFAULT alone. */
  setMemoryFault(): void {
    this.#page.setUint32(EXIT_REASON, KVM_EXIT_MEMORY_FAULT, true);
  }

  get port(): number {
    return this.#page.getUint16(IO_PORT, true);
  }

  get size(): number {
    return this.#page.getUint8(IO_SIZE);
  }

  get count(): number {
    return this.#page.getUint32(IO_COUNT, true);
  }

  get address(): number {
    // Guest-physical addresses have at most 52 bits: exact as a number.
    const page = this.#page;
    return (
      page.getUint32(MMIO_ADDRESS, true) + page.getUint32(MMIO_ADDRESS + 4, true) * 0x1_0000_0000
    );
  }

  get length(): number {
    return this.#isIo() ? this.size * this.count : this.#page.getUint32(MMIO_LENGTH, true);
  }

  get isWrite(): boolean {
    return this.#page.getUint8(this.#isIo() ? IO_DIRECTION : MMIO_IS_WRITE) !== 0;
  }

  get data(): DataView {
    if (!this.#isIo()) return this.#mmioData;
    const offset = this.#page.getUint32(IO_DATA_OFFSET, true);
    if (offset !== this.#ioDataOffset) {
      this.#ioData = new DataView(this.#page.buffer, offset);
      this.#ioDataOffset = offset;
    }
    return this.#ioData;
  }

  get value(): number {
    const data = this.data;
    switch (this.#isIo() ? this.size : this.#page.getUint32(MMIO_LENGTH, true)) {
      case 1:
        return data.getUint8(0);
      case 2:
        return data.getUint16(0, true);
      default:
        return data.getUint32(0, true);
    }
  }

  set value(value: number) {
    const data = this.data;
    switch (this.#isIo() ? this.size : this.#page.getUint32(MMIO_LENGTH, true)) {
      case 1:
        data.setUint8(0, value);
        break;
      case 2:
        data.setUint16(0, value, true);
        break;
      default:
        data.setUint32(0, value, true);
        if (!this.#isIo()) data.setUint32(4, 0, true);
    }
  }

  get systemEvent(): number {
    return this.#page.getUint32(UNION + kvm_run_system_event.offsets.type, true);
  }

  describe(): string {
    const name = names.get(this.rawReason) ?? `KVM exit ${this.rawReason}`;
    const direction = this.isWrite ? "write" : "read";
    switch (this.reason) {
      case ExitReason.IO:
        return `${name}: ${direction} of ${this.count} x ${this.size} bytes at port 0x${this.port.toString(16)}`;
      case ExitReason.MMIO:
        return `${name}: ${direction} of ${this.length} bytes at 0x${this.address.toString(16)}`;
      case ExitReason.FAIL_ENTRY:
        return `${name}: the processor refused the vCPU state, hardware reason 0x${this.#u64(
          UNION + kvm_run_fail_entry.offsets.hardware_entry_failure_reason,
        )}`;
      case ExitReason.INTERNAL_ERROR:
        return `${name}: ${this.#internalError()}`;
      case ExitReason.MEMORY_FAULT:
        return `${name}: the host memory behind an address of the guest cannot be accessed`;
      case ExitReason.SYSTEM_EVENT:
        return `${name}: type ${this.systemEvent}`;
      case ExitReason.UNKNOWN:
        return `${name}: hardware reason 0x${this.#u64(UNION + kvm_run_hw.offsets.hardware_exit_reason)}`;
      default:
        return name;
    }
  }

  #isIo(): boolean {
    return this.rawReason === constants.KVM_EXIT_IO;
  }

  #u64(offset: number): string {
    return this.#page.getBigUint64(offset, true).toString(16);
  }

  #internalError(): string {
    const suberror = this.#page.getUint32(UNION + kvm_run_internal.offsets.suberror, true);
    const text = internalErrors[suberror] ?? `suberror ${suberror}`;
    const failure = kvm_run_emulation_failure.offsets;
    const words = this.#page.getUint32(UNION + failure.ndata, true);
    const bytes = Math.min(this.#page.getUint8(UNION + failure.insn_size), 15);
    // KVM_INTERNAL_ERROR_EMULATION with KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES
    if (suberror !== 1 || words < 3 || (this.#page.getUint8(UNION + failure.flags) & 1) === 0) {
      return text;
    }
    const code = new Uint8Array(this.#page.buffer, UNION + failure.insn_bytes, bytes);
    return `${text}: ${Buffer.from(code).toString("hex")}`;
  }
}
