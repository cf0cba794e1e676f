import type { VmHandle } from "@supermachine/hypervisor";
import {
  type GuestMemory,
  MmioAction,
  MmioDevice,
  MmioRegisters,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  type VirtioDevice,
} from "@supermachine/virtio";
import { EventFd, ResourceStack } from "@supermachine-internal/libc";
import type { MmioWindow } from "./boot/acpi/dsdt.js";
import { VmmError } from "./errors.js";
import {
  FIRST_DEVICE_GSI,
  MAX_DEVICES,
  VIRTIO_MMIO_SIZE,
  VIRTIO_MMIO_START,
} from "./memory-map.js";
import type { PlacedRegion } from "./shared-memory.js";
import type { DeviceState } from "./snapshot/machine-state.js";
import type { RegisterWrite } from "./vcpu-control.js";

/**
 * The virtio-mmio devices of a machine: one register window and one interrupt each. Doorbells reach
 * this thread's event loop through ioeventfds and interrupts leave through irqfds, so that no vCPU
 * waits for a device.
 */
export class DeviceBus implements Disposable {
  /** The shared register files, in address order, for the vCPU threads. */
  readonly registers: SharedArrayBuffer[] = [];
  readonly #resources = new ResourceStack();
  readonly #devices: readonly MmioDevice[];

  /**
   * `sharedMemory` says where the devices' shared memory regions lie.
   * `onFailure` hears why a device stopped: a hostile or broken driver in the guest.
   */
  constructor(
    vm: VmHandle,
    memory: GuestMemory,
    devices: readonly VirtioDevice[],
    sharedMemory: readonly PlacedRegion[],
    onFailure: (reason: Error) => void,
  ) {
    if (devices.length > MAX_DEVICES) {
      throw new VmmError(
        "ERR_VMM_OPTION",
        `${devices.length} devices are more than the ${MAX_DEVICES} a machine can have`,
      );
    }
    try {
      const placeOf = (device: VirtioDevice) =>
        sharedMemory.find(({ region }) => region === device.sharedMemory);
      this.#devices = devices.map((device, index) =>
        this.#attach(vm, memory, device, index, placeOf(device), onFailure),
      );
    } catch (error) {
      this.#resources.dispose();
      throw error;
    }
  }

  #attach(
    vm: VmHandle,
    memory: GuestMemory,
    device: VirtioDevice,
    index: number,
    placed: PlacedRegion | undefined,
    onFailure: (reason: Error) => void,
  ): MmioDevice {
    const resources = this.#resources;
    const interrupt = resources.use(new EventFd());
    resources.use(vm.bindInterrupt(FIRST_DEVICE_GSI + index, interrupt.fd));
    const shared = new SharedArrayBuffer(MmioRegisters.byteLength(device.queueSizes.length));
    this.registers.push(shared);
    const registers = MmioRegisters.create(
      device,
      shared,
      0,
      placed && { ...placed.region, guestAddress: placed.guestAddress },
    );
    const mmio = new MmioDevice(device, memory, registers, () => interrupt.signal(), {
      onFailure,
    });
    const doorbellAddress = windowOf(index) + VIRTIO_MMIO_QUEUE_NOTIFY;
    device.queueSizes.forEach((_, queue) => {
      const doorbell = resources.use(new EventFd());
      resources.use(vm.bindDoorbell(doorbellAddress, doorbell.fd, { value: queue }));
      resources.use(doorbell.watch(() => mmio.handle(MmioAction.notify, queue)));
    });
    resources.use(mmio);
    if (placed !== undefined) {
      const { slot, guestAddress, region } = placed;
      const { hostAddress, length: size } = region;
      vm.mapMemory({ slot, guestAddress, hostAddress, size });
      resources.defer(() => vm.unmapMemory(slot));
    }
    return mmio;
  }

  /** Carries out a register write that a vCPU thread could not finish by itself. */
  handle({ device, action, value, offset, size }: RegisterWrite): void {
    this.#devices[device]?.handle(action, value, offset, size);
  }

  /** In the order in which the guest finds them. */
  get devices(): readonly MmioDevice[] {
    return this.#devices;
  }

  /** A vCPU met memory that cannot be accessed; answers whether a device has mended its own. */
  repairMemory(): boolean {
    const repaired = this.#devices.map(({ device }) => device.sharedMemory?.repair?.() ?? false);
    return repaired.includes(true);
  }

  /** Requests that devices have taken and not completed. */
  get inFlight(): number {
    return this.#devices.reduce((total, { inFlight }) => total + inFlight, 0);
  }

  /** Take it when the vCPUs wait and nothing is in flight. */
  save(): DeviceState[] {
    return this.#devices.map((mmio) => {
      const { registers, queues, device: state } = mmio.save();
      return { deviceId: mmio.device.deviceId, registers, queues, state };
    });
  }

  /** Lets go of the drivers. What the devices have taken is completed all the same: see {@link inFlight}. */
  stop(): void {
    for (const device of this.#devices) device.stop();
  }

  /**
   * Brings the devices of a new machine, or stopped ones, to where they were saved; memory is restored already.
   *
   * @throws VmmError `ERR_VMM_SNAPSHOT_DEVICES`
   */
  restore(states: readonly DeviceState[]): void {
    const idOf = ({ device }: MmioDevice) => device.deviceId;
    const saved = states.map(({ deviceId }) => deviceId).join(", ");
    const found = this.#devices.map(idOf).join(", ");
    if (saved !== found) {
      throw new VmmError(
        "ERR_VMM_SNAPSHOT_DEVICES",
        `the snapshot's machine has virtio devices of types ${saved}, this one ${found}: give the same, in the same order`,
      );
    }
    for (const [index, { registers, queues, state }] of states.entries()) {
      try {
        this.#devices[index]?.restore({ registers, queues, device: state });
      } catch (cause) {
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new VmmError(
          "ERR_VMM_SNAPSHOT_DEVICES",
          `device ${index} cannot go on from the snapshot: ${reason}`,
          { cause },
        );
      }
    }
  }

  /** Where the devices' registers and interrupts are. */
  windows(): MmioWindow[] {
    return this.#devices.map((_, index) => ({
      address: windowOf(index),
      size: VIRTIO_MMIO_SIZE,
      gsi: FIRST_DEVICE_GSI + index,
    }));
  }

  /** How Linux learns of them without ACPI (virtio_mmio.device, kernel-parameters.txt). */
  kernelParameters(): string {
    return this.windows()
      .map(({ address, gsi }) => `virtio_mmio.device=4K@0x${address.toString(16)}:${gsi}`)
      .join(" ");
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}

function windowOf(index: number): number {
  return VIRTIO_MMIO_START + index * VIRTIO_MMIO_SIZE;
}
