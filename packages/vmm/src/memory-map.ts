/**
 * The guest-physical address map of an x86-64 machine. RAM fills the space below the MMIO gap and
 * continues at 4 GiB; everything the boot protocol needs sits below 640 KiB.
 */

/** One range of guest RAM. */
export interface RamRange {
  /** Guest-physical address of the first byte. */
  readonly guestAddress: number;
  /** Bytes. */
  readonly size: number;
}

const MiB = 1024 * 1024;
const GiB = 1024 * MiB;

/** Start of the gap below 4 GiB that holds virtio-mmio registers and the interrupt controllers. */
export const MMIO_GAP_START = 0xd000_0000;
/** Where RAM continues above the gap. */
export const HIGH_RAM_START = 4 * GiB;

/** First virtio-mmio register window; one 4 KiB window per device follows. */
export const VIRTIO_MMIO_START = MMIO_GAP_START;
export const VIRTIO_MMIO_SIZE = 0x1000;
/** The global system interrupt of the first virtio-mmio device; 0 to 4 belong to timer, cascade and serial ports. */
export const FIRST_DEVICE_GSI = 5;
/** Tells the guest that its generation id has changed; of a second serial port, which this machine does not have. */
export const GENERATION_ID_GSI = 3;
/** The last pin of the emulated I/O APIC. */
export const LAST_GSI = 23;
export const MAX_DEVICES = LAST_GSI - FIRST_DEVICE_GSI + 1;

/** Three pages that KVM on Intel uses for real-mode emulation; must not be RAM. */
export const TSS_ADDRESS = 0xfffb_d000;
export const LOCAL_APIC_ADDRESS = 0xfee0_0000;
export const IO_APIC_ADDRESS = 0xfec0_0000;

export const GDT_ADDRESS = 0x500;
export const BOOT_PARAMS_ADDRESS = 0x7000;
export const BOOT_STACK_ADDRESS = 0x8ff0;
export const PAGE_TABLES_ADDRESS = 0x9000;
export const COMMAND_LINE_ADDRESS = 0x2_0000;
/** End of conventional memory: the last KiB below 640 KiB is where the kernel looks for MP tables. */
export const EBDA_ADDRESS = 0x9_fc00;
/** ACPI tables and the generation id, where a PC has its firmware: not for the guest to use as memory. */
export const ACPI_ADDRESS = 0xe_0000;
export const ACPI_SIZE = 0x1_0000;
/** In a page of its own: the guest maps it. */
export const GENERATION_ID_ADDRESS = 0xe_f000;
export const HIGH_MEMORY_START = 0x10_0000;

/** Shared memory regions of devices start at multiples of this, so that the guest can map large pages. */
const SHARED_MEMORY_ALIGNMENT = GiB;

/** A JavaScript view of native memory stays below 4 GiB, so larger RAM is several ranges. */
const MAX_RANGE = 3 * GiB;

/** The RAM ranges of a machine with `memoryMiB` of memory, lowest first. */
export function ramRanges(memoryMiB: number): RamRange[] {
  const total = memoryMiB * MiB;
  const low = Math.min(total, MMIO_GAP_START);
  const ranges: RamRange[] = [];
  const add = (start: number, size: number) => {
    for (let done = 0; done < size; done += MAX_RANGE) {
      ranges.push({ guestAddress: start + done, size: Math.min(MAX_RANGE, size - done) });
    }
  };
  add(0, low);
  add(HIGH_RAM_START, total - low);
  return ranges;
}

/**
 * Where the shared memory regions of devices, of these sizes, lie: above all RAM, for Linux adds them
 * to its memory map like RAM.
 */
export function sharedMemoryAddresses(memoryMiB: number, sizes: readonly number[]): number[] {
  const last = ramRanges(memoryMiB).at(-1);
  let next = Math.max(HIGH_RAM_START, last === undefined ? 0 : last.guestAddress + last.size);
  return sizes.map((size) => {
    const address = Math.ceil(next / SHARED_MEMORY_ALIGNMENT) * SHARED_MEMORY_ALIGNMENT;
    next = address + size;
    return address;
  });
}
