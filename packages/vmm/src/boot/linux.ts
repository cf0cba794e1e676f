import type { GuestMemory } from "@supermachine/virtio";
import { VmmError } from "../errors.js";
import {
  ACPI_ADDRESS,
  ACPI_SIZE,
  BOOT_PARAMS_ADDRESS,
  COMMAND_LINE_ADDRESS,
  EBDA_ADDRESS,
  HIGH_MEMORY_START,
  type RamRange,
} from "../memory-map.js";
import {
  ACPI_RSDP_OFFSET,
  BOOT_PARAMS_SIZE,
  bootE820Entry,
  E820_ENTRIES_OFFSET,
  E820_RAM,
  E820_RESERVED,
  E820_TABLE_OFFSET,
  ENTRY_64_OFFSET,
  LOADED_HIGH,
  LOADER_UNDEFINED,
  OLDEST_PROTOCOL,
  SETUP_HEADER_MAGIC,
  SETUP_HEADER_OFFSET,
  setupHeader,
  XLF_KERNEL_64,
} from "./boot-params.js";

/** A file whose bytes can be read straight into guest memory. */
export interface BootFile {
  /** How messages name the file: usually its path. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** Fills `target` from `position`; a short file throws. */
  read(target: Uint8Array, position: number): void;
}

export interface LinuxImage {
  readonly kernel: BootFile;
  readonly initrd?: BootFile | undefined;
  /** ASCII, without the terminating NUL. */
  readonly commandLine: string;
  /** Guest-physical address of the root pointer of the machine's ACPI tables; without it there are none. */
  readonly acpiRoot?: number | undefined;
}

/** Where the first vCPU starts. */
export interface LinuxEntry {
  /** Guest-physical address of the kernel's 64-bit entry point: the value of RIP. */
  readonly entryPoint: number;
  /** Guest-physical address of `boot_params`: the value of RSI. */
  readonly bootParams: number;
}

const PAGE = 4096;
const SECTOR = 512;

function kernelError(kernel: BootFile, reason: string): VmmError {
  return new VmmError(
    "ERR_VMM_NOT_A_KERNEL",
    `${kernel.name} is not a Linux kernel that can be started here: ${reason}; give a 64-bit x86 bzImage`,
  );
}

function tooSmall(what: string, memoryBytes: number): VmmError {
  const memoryMiB = Math.floor(memoryBytes / (1024 * 1024));
  return new VmmError(
    "ERR_VMM_MEMORY_TOO_SMALL",
    `${what} does not fit into ${memoryMiB} MiB of guest memory; give the machine more memory`,
  );
}

/** Reads and checks the setup header of a bzImage. */
function readHeader(kernel: BootFile) {
  const end = SETUP_HEADER_OFFSET + setupHeader.size;
  if (kernel.size < end) throw kernelError(kernel, `it has only ${kernel.size} bytes`);
  const bytes = new Uint8Array(end);
  kernel.read(bytes, 0);
  const header = setupHeader.decode(bytes, SETUP_HEADER_OFFSET);
  if (header.header !== SETUP_HEADER_MAGIC) throw kernelError(kernel, "it has no setup header");
  if (header.version < OLDEST_PROTOCOL) {
    throw kernelError(kernel, `its boot protocol ${header.version.toString(16)} predates 2.12`);
  }
  if ((header.xloadflags & XLF_KERNEL_64) === 0) {
    throw kernelError(kernel, "it has no 64-bit entry point");
  }
  // Zero means four, for the sake of very old kernels.
  const setupSectors = header.setup_sects === 0 ? 4 : header.setup_sects;
  const payloadOffset = (setupSectors + 1) * SECTOR;
  if (payloadOffset >= kernel.size) throw kernelError(kernel, "it ends within its setup code");
  return { header, payloadOffset };
}

/**
 * Loads a bzImage, its initial RAM disk and `boot_params` into guest memory for the 64-bit boot
 * protocol (boot.rst, "64-bit Boot Protocol").
 *
 * @throws VmmError `ERR_VMM_NOT_A_KERNEL`, `ERR_VMM_MEMORY_TOO_SMALL` or `ERR_VMM_COMMAND_LINE`.
 */
export function loadLinux(
  memory: GuestMemory,
  ram: readonly RamRange[],
  image: LinuxImage,
): LinuxEntry {
  const { kernel, initrd } = image;
  const lowEnd = ram[0]?.size ?? 0;
  const { header, payloadOffset } = readHeader(kernel);

  const loadAddress = Number(header.pref_address);
  const payloadSize = kernel.size - payloadOffset;
  // init_size is what the kernel needs to decompress itself in place.
  const kernelEnd = loadAddress + Math.max(header.init_size, payloadSize);
  const target = memory.slice(loadAddress, payloadSize);
  if (kernelEnd > lowEnd || target === undefined) {
    throw tooSmall(
      `the kernel ${kernel.name} (up to ${Math.ceil(kernelEnd / 2 ** 20)} MiB)`,
      lowEnd,
    );
  }
  kernel.read(target, payloadOffset);

  if (initrd !== undefined) {
    const top = Math.min(lowEnd, header.initrd_addr_max + 1);
    const address = Math.floor((top - initrd.size) / PAGE) * PAGE;
    const room = address >= kernelEnd ? memory.slice(address, initrd.size) : undefined;
    if (room === undefined) throw tooSmall(`the initial RAM disk ${initrd.name}`, lowEnd);
    initrd.read(room, 0);
    header.ramdisk_image = address;
    header.ramdisk_size = initrd.size;
  }

  writeCommandLine(memory, image.commandLine, header.cmdline_size);
  header.cmd_line_ptr = COMMAND_LINE_ADDRESS;
  header.type_of_loader = LOADER_UNDEFINED;
  header.loadflags |= LOADED_HIGH;

  const params = memory.slice(BOOT_PARAMS_ADDRESS, BOOT_PARAMS_SIZE);
  if (params === undefined) throw tooSmall("the boot parameters", lowEnd);
  params.fill(0);
  setupHeader.encode(header, params, SETUP_HEADER_OFFSET);
  writeMemoryMap(params, ram, image.acpiRoot !== undefined);
  new DataView(params.buffer, params.byteOffset).setBigUint64(
    ACPI_RSDP_OFFSET,
    BigInt(image.acpiRoot ?? 0),
    true,
  );
  return { entryPoint: loadAddress + ENTRY_64_OFFSET, bootParams: BOOT_PARAMS_ADDRESS };
}

function writeCommandLine(memory: GuestMemory, commandLine: string, kernelLimit: number): void {
  const limit = Math.min(kernelLimit, EBDA_ADDRESS - COMMAND_LINE_ADDRESS - 1);
  const bytes = Buffer.from(`${commandLine}\0`, "latin1");
  const target = memory.slice(COMMAND_LINE_ADDRESS, bytes.length);
  if (bytes.length - 1 > limit || target === undefined) {
    throw new VmmError(
      "ERR_VMM_COMMAND_LINE",
      `the kernel command line has ${bytes.length - 1} bytes, more than the ${limit} the kernel takes; use fewer mounts or shorter paths`,
    );
  }
  target.set(bytes);
}

/** The e820 map: RAM, and the ACPI tables; what is not listed is a hole. */
function writeMemoryMap(params: Uint8Array, ram: readonly RamRange[], hasAcpi: boolean): void {
  const entries = [{ guestAddress: 0, size: EBDA_ADDRESS, type: E820_RAM }];
  if (hasAcpi) entries.push({ guestAddress: ACPI_ADDRESS, size: ACPI_SIZE, type: E820_RESERVED });
  for (const range of ram) {
    const start = Math.max(range.guestAddress, HIGH_MEMORY_START);
    const end = range.guestAddress + range.size;
    if (end > start) entries.push({ guestAddress: start, size: end - start, type: E820_RAM });
  }
  entries.forEach((entry, index) => {
    bootE820Entry.encode(
      { addr: BigInt(entry.guestAddress), size: BigInt(entry.size), type: entry.type },
      params,
      E820_TABLE_OFFSET + index * bootE820Entry.size,
    );
  });
  params[E820_ENTRIES_OFFSET] = entries.length;
}
