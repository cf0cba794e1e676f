import { defineStruct } from "@supermachine-internal/struct";

/**
 * `struct setup_header` of the Linux x86 boot protocol (Documentation/arch/x86/boot.rst). It sits at
 * {@link SETUP_HEADER_OFFSET} in the kernel file and at the same offset in `boot_params`.
 */
export const setupHeader = defineStruct("setup_header", 123, {
  setup_sects: "u8",
  root_flags: "u16",
  syssize: "u32",
  ram_size: "u16",
  vid_mode: "u16",
  root_dev: "u16",
  boot_flag: "u16",
  jump: "u16",
  header: "u32",
  version: "u16",
  realmode_swtch: "u32",
  start_sys_seg: "u16",
  kernel_version: "u16",
  type_of_loader: "u8",
  loadflags: "u8",
  setup_move_size: "u16",
  code32_start: "u32",
  ramdisk_image: "u32",
  ramdisk_size: "u32",
  bootsect_kludge: "u32",
  heap_end_ptr: "u16",
  ext_loader_ver: "u8",
  ext_loader_type: "u8",
  cmd_line_ptr: "u32",
  initrd_addr_max: "u32",
  kernel_alignment: "u32",
  relocatable_kernel: "u8",
  min_alignment: "u8",
  xloadflags: "u16",
  cmdline_size: "u32",
  hardware_subarch: "u32",
  hardware_subarch_data: "u64",
  payload_offset: "u32",
  payload_length: "u32",
  setup_data: "u64",
  pref_address: "u64",
  init_size: "u32",
  handover_offset: "u32",
  kernel_info_offset: "u32",
});

export const SETUP_HEADER_OFFSET = 0x1f1;
/** `HdrS`: marks a kernel with a setup header. */
export const SETUP_HEADER_MAGIC = 0x5372_6448;
/** Boot protocol 2.12, the first with `xloadflags`. */
export const OLDEST_PROTOCOL = 0x20c;
/** `xloadflags`: the kernel has the 64-bit entry point at load address + 0x200. */
export const XLF_KERNEL_64 = 1 << 0;
export const ENTRY_64_OFFSET = 0x200;
/** `loadflags`: the protected-mode code is loaded at 1 MiB or above. */
export const LOADED_HIGH = 1 << 0;
/** `type_of_loader` of a boot loader without an assigned id. */
export const LOADER_UNDEFINED = 0xff;

/** `struct boot_e820_entry`. */
export const bootE820Entry = defineStruct("boot_e820_entry", 20, {
  addr: "u64",
  size: "u64",
  type: "u32",
});
export const E820_RAM = 1;
export const E820_RESERVED = 2;

export const BOOT_PARAMS_SIZE = 4096;
/** `acpi_rsdp_addr`, since boot protocol 2.14; older kernels ignore it and search. */
export const ACPI_RSDP_OFFSET = 0x070;
export const E820_ENTRIES_OFFSET = 0x1e8;
export const E820_TABLE_OFFSET = 0x2d0;
