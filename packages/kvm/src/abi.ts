import { defineStruct } from "@supermachine-internal/struct";

// Names and fields are those of <linux/kvm.h>, so that each can be found there; fields that start with
// an underscore are padding that the header leaves to the compiler. "kvm_run.io" is the member `io` of
// the union in kvm_run, which starts at kvm_run's size here.

/** The part of the run page that every exit shares, up to the union. */
export const kvm_run = defineStruct("kvm_run", 32, {
  request_interrupt_window: "u8",
  immediate_exit: "u8",
  padding1: { bytes: 6 },
  exit_reason: "u32",
  ready_for_interrupt_injection: "u8",
  if_flag: "u8",
  flags: "u16",
  cr8: "u64",
  apic_base: "u64",
});

export const kvm_run_io = defineStruct("kvm_run.io", 16, {
  direction: "u8",
  size: "u8",
  port: "u16",
  count: "u32",
  data_offset: "u64",
});

export const kvm_run_mmio = defineStruct("kvm_run.mmio", 24, {
  phys_addr: "u64",
  data: { bytes: 8 },
  len: "u32",
  is_write: "u8",
  _pad: { bytes: 3 },
});

export const kvm_run_hw = defineStruct("kvm_run.hw", 8, { hardware_exit_reason: "u64" });

export const kvm_run_fail_entry = defineStruct("kvm_run.fail_entry", 16, {
  hardware_entry_failure_reason: "u64",
  cpu: "u32",
  _pad: "u32",
});

export const kvm_run_internal = defineStruct("kvm_run.internal", 136, {
  suberror: "u32",
  ndata: "u32",
  data: { bytes: 128 },
});

export const kvm_run_emulation_failure = defineStruct("kvm_run.emulation_failure", 32, {
  suberror: "u32",
  ndata: "u32",
  flags: "u64",
  insn_size: "u8",
  insn_bytes: { bytes: 15 },
});

export const kvm_run_system_event = defineStruct("kvm_run.system_event", 136, {
  type: "u32",
  ndata: "u32",
  data: { bytes: 128 },
});

export const kvm_userspace_memory_region = defineStruct("kvm_userspace_memory_region", 32, {
  slot: "u32",
  flags: "u32",
  guest_phys_addr: "u64",
  memory_size: "u64",
  userspace_addr: "u64",
});

export const kvm_dirty_log = defineStruct("kvm_dirty_log", 16, {
  slot: "u32",
  padding1: "u32",
  dirty_bitmap: "u64",
});

export const kvm_irq_level = defineStruct("kvm_irq_level", 8, { irq: "u32", level: "u32" });

export const kvm_irqchip = defineStruct("kvm_irqchip", 520, {
  chip_id: "u32",
  pad: "u32",
  chip: { bytes: 512 },
});

export const kvm_pit_config = defineStruct("kvm_pit_config", 64, {
  flags: "u32",
  pad: { bytes: 60 },
});

export const kvm_irqfd = defineStruct("kvm_irqfd", 32, {
  fd: "u32",
  gsi: "u32",
  flags: "u32",
  resamplefd: "u32",
  pad: { bytes: 16 },
});

export const kvm_ioeventfd = defineStruct("kvm_ioeventfd", 64, {
  datamatch: "u64",
  addr: "u64",
  len: "u32",
  fd: "s32",
  flags: "u32",
  pad: { bytes: 36 },
});

export const kvm_clock_data = defineStruct("kvm_clock_data", 48, {
  clock: "u64",
  flags: "u32",
  pad0: "u32",
  realtime: "u64",
  host_tsc: "u64",
  pad: { bytes: 16 },
});

export const kvm_mp_state = defineStruct("kvm_mp_state", 4, { mp_state: "u32" });
