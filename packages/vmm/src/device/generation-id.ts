import { randomFillSync } from "node:crypto";
import type { VmHandle } from "@supermachine/hypervisor";
import type { GuestMemory } from "@supermachine/virtio";
import { EventFd, ResourceStack } from "@supermachine-internal/libc";
import { GENERATION_ID_ADDRESS, GENERATION_ID_GSI } from "../memory-map.js";

const GUID_SIZE = 16;

/**
 * The virtual machine's generation id ("Virtual Machine Generation ID", Microsoft, 2012): 16 random bytes
 * that change when the machine becomes another one, as by a restore. Linux reseeds its random number
 * generator then, and tells what has keys of its own to forget.
 */
export class GenerationId implements Disposable {
  readonly #resources = new ResourceStack();
  readonly #id: Uint8Array;
  readonly #interrupt: EventFd;

  /** Writes no id: {@link GenerationId.renew} does. */
  constructor(vm: VmHandle, memory: GuestMemory) {
    const id = memory.slice(GENERATION_ID_ADDRESS, GUID_SIZE);
    if (id === undefined) throw new RangeError("no guest memory for the generation id");
    this.#id = id;
    try {
      this.#interrupt = this.#resources.use(new EventFd());
      this.#resources.use(vm.bindInterrupt(GENERATION_ID_GSI, this.#interrupt.fd));
    } catch (error) {
      this.#resources.dispose();
      throw error;
    }
  }

  /** Gives the machine a new id and tells the guest, which acts on it once its vCPUs run. */
  renew(): void {
    randomFillSync(this.#id);
    this.#interrupt.signal();
  }

  [Symbol.dispose](): void {
    this.#resources.dispose();
  }
}
