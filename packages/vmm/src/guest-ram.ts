import type { HostMemory, Hypervisor, VmHandle } from "@supermachine/hypervisor";
import type { GuestMemoryRegion } from "@supermachine/virtio";
import { ResourceStack } from "@supermachine-internal/libc";
import { VmmError } from "./errors.js";
import { type RamRange, ramRanges } from "./memory-map.js";
import type { Snapshot } from "./snapshot/snapshot.js";

/** The guest's RAM: its ranges and the host memory behind each. */
export class GuestRam implements Disposable {
  readonly ranges: readonly RamRange[];
  /** One for each range. */
  readonly memory: readonly HostMemory[];

  private constructor(memoryMiB: number, memory: readonly HostMemory[]) {
    this.ranges = ramRanges(memoryMiB);
    this.memory = memory;
  }

  /** RAM full of zeros. @throws VmmError `ERR_VMM_HYPERVISOR` */
  static allocate(hypervisor: Hypervisor, memoryMiB: number): GuestRam {
    return guarded(memoryMiB, () => {
      const allocated = new ResourceStack();
      try {
        const memory = ramRanges(memoryMiB).map(({ size }) =>
          allocated.use(hypervisor.allocateMemory(size)),
        );
        return new GuestRam(memoryMiB, memory);
      } catch (error) {
        allocated.dispose();
        throw error;
      }
    });
  }

  /** RAM as it was saved. @throws VmmError `ERR_VMM_HYPERVISOR` */
  static restore(hypervisor: Hypervisor, snapshot: Snapshot): GuestRam {
    const { memoryMiB } = snapshot;
    return guarded(memoryMiB, () => new GuestRam(memoryMiB, snapshot.allocateMemory(hypervisor)));
  }

  /** As devices see it. */
  get regions(): GuestMemoryRegion[] {
    return this.#each(({ guestAddress }, memory) => ({
      guestAddress,
      buffer: memory.view(),
      discard: (offset: number, length: number) => memory.discard(offset, length),
    }));
  }

  /** Drops what was written since: it is as it was allocated or restored. Costs what the guest has touched. */
  revert(): void {
    for (const memory of this.memory) memory.discard(0, memory.length);
  }

  /** Shows it to the guest, in memory slots from 0 on. */
  mapInto(vm: VmHandle): void {
    this.#each(({ guestAddress, size }, { address: hostAddress }, slot) =>
      vm.mapMemory({ slot, guestAddress, hostAddress, size }),
    );
  }

  [Symbol.dispose](): void {
    for (const memory of this.memory) memory.close();
  }

  #each<T>(visit: (range: RamRange, memory: HostMemory, index: number) => T): T[] {
    return this.ranges.flatMap((range, index) => {
      const memory = this.memory[index];
      return memory === undefined ? [] : [visit(range, memory, index)];
    });
  }
}

function guarded(memoryMiB: number, allocate: () => GuestRam): GuestRam {
  try {
    return allocate();
  } catch (cause) {
    throw new VmmError(
      "ERR_VMM_HYPERVISOR",
      `the host gives no ${memoryMiB} MiB for the guest's memory; ask for less`,
      { cause },
    );
  }
}
