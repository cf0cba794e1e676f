import type { X86InterruptControllerState, X86Vm } from "@supermachine/hypervisor";
import { kvm_clock_data, kvm_irqchip, kvm_pit_config } from "./abi.js";
import { kvm_pit_state2 } from "./abi-x86.js";
import { KvmError } from "./errors.js";
import { ioctl, tryIoctl } from "./ioctl.js";
import { constants } from "./numbers.js";
import { encodeSections, Sections } from "./state-sections.js";

/** KVM_CREATE_IRQCHIP (both PICs, the IOAPIC, local APICs) and KVM_CREATE_PIT2. */
export function createInterruptController(fd: number): void {
  ioctl(fd, "KVM_CREATE_IRQCHIP", 0);
  const config = Buffer.alloc(kvm_pit_config.size);
  // Lets the guest poke port 0x61 (speaker, PIT channel 2 gate) without exits.
  config.writeUInt32LE(constants.KVM_PIT_SPEAKER_DUMMY, kvm_pit_config.offsets.flags);
  ioctl(fd, "KVM_CREATE_PIT2", config);
}

/** Whether the VM behind `fd` has the chips: asked, because another thread may have made them. */
export function hasInterruptController(fd: number): boolean {
  return tryIoctl(fd, "KVM_GET_PIT2", Buffer.alloc(kvm_pit_state2.size)) >= 0;
}

/** The parts of a VM's state that belong to its in-kernel chips and clock. */
export class KvmX86Vm implements X86Vm {
  readonly #fd: () => number;

  /** `fd` returns the VM's file descriptor, or throws when it is closed. */
  constructor(fd: () => number) {
    this.#fd = fd;
  }

  getInterruptControllerState(): X86InterruptControllerState {
    const pit = Buffer.alloc(kvm_pit_state2.size);
    ioctl(this.#fd(), "KVM_GET_PIT2", pit);
    return {
      primaryPic: this.#getChip(constants.KVM_IRQCHIP_PIC_MASTER),
      secondaryPic: this.#getChip(constants.KVM_IRQCHIP_PIC_SLAVE),
      ioapic: this.#getChip(constants.KVM_IRQCHIP_IOAPIC),
      pit,
    };
  }

  setInterruptControllerState(state: X86InterruptControllerState): void {
    this.#setChip(constants.KVM_IRQCHIP_PIC_MASTER, state.primaryPic);
    this.#setChip(constants.KVM_IRQCHIP_PIC_SLAVE, state.secondaryPic);
    this.#setChip(constants.KVM_IRQCHIP_IOAPIC, state.ioapic);
    if (state.pit.length !== kvm_pit_state2.size) throw wrongLength("the PIT", state.pit);
    ioctl(this.#fd(), "KVM_SET_PIT2", state.pit);
  }

  getClock(): bigint {
    const bytes = Buffer.alloc(kvm_clock_data.size);
    ioctl(this.#fd(), "KVM_GET_CLOCK", bytes);
    return kvm_clock_data.decode(bytes).clock;
  }

  setClock(nanoseconds: bigint): void {
    const bytes = Buffer.alloc(kvm_clock_data.size);
    bytes.writeBigUInt64LE(nanoseconds, kvm_clock_data.offsets.clock);
    ioctl(this.#fd(), "KVM_SET_CLOCK", bytes);
  }

  /** All of the above, and the clock. */
  saveState(): Uint8Array {
    const { primaryPic, secondaryPic, ioapic, pit } = this.getInterruptControllerState();
    const clock = Buffer.alloc(8);
    clock.writeBigUInt64LE(this.getClock());
    return encodeSections({
      PIC0: primaryPic,
      PIC1: secondaryPic,
      IOAP: ioapic,
      PIT2: pit,
      CLCK: clock,
    });
  }

  restoreState(state: Uint8Array): void {
    const sections = new Sections("a VM", state);
    const chip = kvm_irqchip.size - kvm_irqchip.offsets.chip;
    this.setInterruptControllerState({
      primaryPic: sections.take("PIC0", chip),
      secondaryPic: sections.take("PIC1", chip),
      ioapic: sections.take("IOAP", chip),
      pit: sections.take("PIT2", kvm_pit_state2.size),
    });
    this.setClock(Buffer.from(sections.take("CLCK", 8)).readBigUInt64LE());
    sections.end();
  }

  #getChip(id: number): Uint8Array {
    const bytes = Buffer.alloc(kvm_irqchip.size);
    bytes.writeUInt32LE(id, kvm_irqchip.offsets.chip_id);
    ioctl(this.#fd(), "KVM_GET_IRQCHIP", bytes);
    return bytes.subarray(kvm_irqchip.offsets.chip);
  }

  #setChip(id: number, chip: Uint8Array): void {
    const bytes = Buffer.alloc(kvm_irqchip.size);
    if (chip.length !== bytes.length - kvm_irqchip.offsets.chip) {
      throw wrongLength("an interrupt controller", chip);
    }
    bytes.writeUInt32LE(id, kvm_irqchip.offsets.chip_id);
    bytes.set(chip, kvm_irqchip.offsets.chip);
    ioctl(this.#fd(), "KVM_SET_IRQCHIP", bytes);
  }
}

function wrongLength(what: string, bytes: Uint8Array): KvmError {
  return new KvmError("ERR_KVM_ARGUMENT", `the state of ${what} cannot have ${bytes.length} bytes`);
}
