import { parentPort } from "node:worker_threads";
import {
  ExitReason,
  type Hypervisor,
  type VcpuExit,
  type VcpuHandle,
  type VcpuKickToken,
  type VmToken,
  type X86CpuidEntry,
} from "@supermachine/hypervisor";
import { MmioAction, MmioRegisters } from "@supermachine/virtio";
import { vcpuCpuid } from "./boot/cpuid.js";
import type { LinuxEntry } from "./boot/linux.js";
import { enterLongMode } from "./boot/long-mode.js";
import {
  KEYBOARD_CONTROLLER_PORT,
  PULSE_RESET_LINE,
  SLEEP_CONTROL_PORT,
  SLEEP_ENABLE,
} from "./device/power.js";
import { COM1_GSI, COM1_PORT, COM1_PORTS, SerialPort } from "./device/serial.js";
import { VIRTIO_MMIO_SIZE, VIRTIO_MMIO_START } from "./memory-map.js";
import { currentThread, ownThreadTime } from "./metrics/usage.js";
import { VcpuCounters } from "./metrics/vcpu-counters.js";
import { VcpuControl } from "./vcpu-control.js";
import { VcpuGate } from "./vcpu-gate.js";

/** What the device thread gives a vCPU thread. */
export interface VcpuThreadData {
  readonly vm: VmToken;
  readonly index: number;
  readonly cpus: number;
  /** The register files of the virtio-mmio devices, in address order. */
  readonly registers: readonly SharedArrayBuffer[];
  readonly serial: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  readonly gate: SharedArrayBuffer;
  /** See `VcpuCounters`. */
  readonly counters: SharedArrayBuffer;
  readonly start: VcpuStart;
}

/** How a vCPU begins. */
export type VcpuStart =
  /** Waiting for the guest's start-up IPI. */
  | { readonly type: "wait" }
  /** At the entry point of the guest's kernel. */
  | { readonly type: "boot"; readonly entry: LinuxEntry }
  /** Where it was when its state was saved. */
  | { readonly type: "restore"; readonly state: Uint8Array };

/** Why a vCPU thread ended. */
export type VcpuEnd = "stopped" | "reset" | "triple-fault" | "memory-fault" | "hypervisor-error";

/** What a vCPU thread tells the device thread. */
export type VcpuMessage =
  | { readonly type: "ready"; readonly kick: VcpuKickToken }
  | { readonly type: "request" }
  /** It waits at the gate. */
  | { readonly type: "parked" }
  | { readonly type: "console"; readonly bytes: Uint8Array }
  | { readonly type: "ended"; readonly end: VcpuEnd; readonly detail: string };

/** Beside those: it has let go of its vCPU, and can have another. The last message about this one. */
export type VcpuThreadMessage = VcpuMessage | { readonly type: "free" };

const CONSOLE_CHUNK = 1024;
const NEWLINE = 0x0a;

/** Collects console bytes into lines, so that a message carries more than one of them. */
class ConsoleBuffer {
  readonly #bytes = new Uint8Array(CONSOLE_CHUNK);
  #length = 0;

  push(byte: number): void {
    this.#bytes[this.#length++] = byte;
    if (byte === NEWLINE || this.#length === CONSOLE_CHUNK) this.flush();
  }

  flush(): void {
    if (this.#length === 0) return;
    post({ type: "console", bytes: this.#bytes.slice(0, this.#length) });
    this.#length = 0;
  }
}

function endsMachine(port: number, value: number): boolean {
  if (port === SLEEP_CONTROL_PORT) return (value & SLEEP_ENABLE) !== 0;
  return port === KEYBOARD_CONTROLLER_PORT && value === PULSE_RESET_LINE;
}

function post(message: VcpuThreadMessage): void {
  parentPort?.postMessage(message);
}

/** One vCPU: serves its exits from shared state and asks the device thread for the rest. */
class VcpuThread {
  readonly #data: VcpuThreadData;
  readonly #vcpu: VcpuHandle;
  readonly #gate: VcpuGate;
  readonly #control: VcpuControl;
  readonly #counters: VcpuCounters;
  readonly #registers: readonly MmioRegisters[];
  readonly #console = new ConsoleBuffer();
  readonly #serial: SerialPort;
  readonly #wake = () => post({ type: "request" });
  /** Whether the guest's last access has been served, but not completed. */
  #inAccess = false;

  constructor(data: VcpuThreadData, vcpu: VcpuHandle, interrupt: () => void) {
    this.#data = data;
    this.#vcpu = vcpu;
    this.#gate = new VcpuGate(data.gate);
    this.#control = VcpuControl.attach(data.control, this.#gate);
    this.#counters = new VcpuCounters(data.counters, data.index);
    this.#counters.begin(currentThread(), ownThreadTime());
    this.#registers = data.registers.map((shared) => new MmioRegisters(shared));
    this.#serial = new SerialPort(data.serial, {
      transmit: (byte) => this.#console.push(byte),
      interrupt,
    });
  }

  run(): { end: VcpuEnd; detail: string } {
    const result = this.#loop();
    this.#console.flush();
    return result;
  }

  #loop(): { end: VcpuEnd; detail: string } {
    const vcpu = this.#vcpu;
    for (;;) {
      if (!this.#gate.isOpen) {
        if (this.#gate.stopping) return { end: "stopped", detail: "" };
        if (this.#completeAccess()) return { end: "reset", detail: "" };
        this.#wait();
        continue;
      }
      const reason = vcpu.run();
      this.#counters.count(reason);
      this.#inAccess = reason === ExitReason.IO || reason === ExitReason.MMIO;
      switch (reason) {
        case ExitReason.IO:
        case ExitReason.MMIO:
          if (this.#access(reason)) return { end: "reset", detail: "" };
          break;
        case ExitReason.HLT:
        case ExitReason.INTERRUPTED:
        case ExitReason.INTERRUPT_WINDOW:
          break;
        case ExitReason.SHUTDOWN:
          return { end: "triple-fault", detail: vcpu.exit.describe() };
        case ExitReason.MEMORY_FAULT:
          if (!this.#control.requestRepair(this.#data.index, this.#wake)) {
            return { end: "memory-fault", detail: vcpu.exit.describe() };
          }
          break;
        case ExitReason.SYSTEM_EVENT:
          return { end: "reset", detail: vcpu.exit.describe() };
        default:
          return { end: "hypervisor-error", detail: vcpu.exit.describe() };
      }
    }
  }

  /** At the closed gate. */
  #wait(): void {
    this.#console.flush();
    this.#gate.wait(this.#data.index, () => post({ type: "parked" }), this.#vcpu);
    try {
      this.#vcpu.x86?.notifyPaused();
    } catch {
      // The guest has no paravirtual clock: nobody to tell.
    }
  }

  /** Brings the vCPU between two instructions; true when the guest pulsed the reset line in the last one. */
  #completeAccess(): boolean {
    while (this.#inAccess) {
      const reason = this.#vcpu.completeExit();
      this.#inAccess = reason === ExitReason.IO || reason === ExitReason.MMIO;
      if (this.#inAccess && this.#access(reason)) return true;
    }
    return false;
  }

  /** Serves a port or memory access; true when the guest pulsed the reset line. */
  #access(reason: ExitReason): boolean {
    if (reason === ExitReason.IO) return this.#portAccess(this.#vcpu.exit);
    this.#memoryAccess(this.#vcpu.exit);
    return false;
  }

  /** Serves port I/O; true when the guest pulsed the reset line. Absent ports read as all ones. */
  #portAccess(exit: VcpuExit): boolean {
    const { port, isWrite, data, size, count } = exit;
    if (port >= COM1_PORT && port < COM1_PORT + COM1_PORTS) {
      for (let item = 0; item < count * size; item += size) {
        if (isWrite) this.#serial.write(port - COM1_PORT, data.getUint8(item));
        else data.setUint8(item, this.#serial.read(port - COM1_PORT));
      }
      return false;
    }
    if (isWrite) return endsMachine(port, data.getUint8(0));
    // The keyboard controller's status must read as idle, or a guest waits for it before a reset.
    const fill = port === KEYBOARD_CONTROLLER_PORT ? 0 : 0xff;
    for (let at = 0; at < count * size; at++) data.setUint8(at, fill);
    return false;
  }

  #memoryAccess(exit: VcpuExit): void {
    const offset = exit.address - VIRTIO_MMIO_START;
    const device = Math.floor(offset / VIRTIO_MMIO_SIZE);
    const registers = this.#registers[device];
    if (registers === undefined) {
      if (!exit.isWrite) for (let at = 0; at < exit.length; at++) exit.data.setUint8(at, 0xff);
      return;
    }
    const register = offset % VIRTIO_MMIO_SIZE;
    if (!exit.isWrite) {
      exit.value = registers.read(register, exit.length);
      return;
    }
    const { value, length: size } = exit;
    const action = registers.write(register, size, value);
    if (action === MmioAction.none) return;
    const write = { device, action, offset: register, size, value };
    this.#control.request(this.#data.index, write, this.#wake);
  }
}

/**
 * The body of a vCPU worker thread: call it, with the driver, from the module given as `vcpuThread`
 * to {@link Machine.start}. The thread waits for a machine, runs the vCPU, and waits for the next one until it is
 * dismissed, or something has failed.
 */
export function runVcpuThread(hypervisor: Hypervisor): void {
  // Asked ahead of need: the driver is loaded while the machine is still being built.
  const supported = hypervisor.isAvailable().usable ? hypervisor.x86?.supportedCpuid() : undefined;
  parentPort?.on("message", (data: VcpuThreadData | undefined) => {
    if (data !== undefined && runVcpu(hypervisor, data, supported ?? [])) post({ type: "free" });
    else parentPort?.close();
  });
}

/** Runs a vCPU to its end; false when something failed in this thread. */
function runVcpu(
  hypervisor: Hypervisor,
  data: VcpuThreadData,
  supported: readonly X86CpuidEntry[],
): boolean {
  try {
    using vm = hypervisor.attachVm(data.vm);
    using vcpu = vm.createVcpu(data.index);
    if (data.start.type === "restore") vcpu.restoreState(data.start.state);
    else vcpu.x86?.setCpuid(vcpuCpuid(supported, data.index, data.cpus));
    if (data.start.type === "boot") enterLongMode(vcpu, data.start.entry);
    post({ type: "ready", kick: vcpu.kickToken });
    const pulseInterrupt = () => {
      vm.setInterruptLine(COM1_GSI, true);
      vm.setInterruptLine(COM1_GSI, false);
    };
    const { end, detail } = new VcpuThread(data, vcpu, pulseInterrupt).run();
    post({ type: "ended", end, detail });
    return end !== "hypervisor-error";
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    post({ type: "ended", end: "hypervisor-error", detail });
    return false;
  }
}
