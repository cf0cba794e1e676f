import { constants, fstatSync } from "node:fs";
import { closeFd, EventFd, setNonBlocking, type Watch } from "@supermachine-internal/libc";
import type { Virtqueue } from "../../queue/virtqueue.js";
import { VhostUserError } from "./error.js";

/** Addresses of a ring's three parts in the front-end's own address space. */
export interface VringAddresses {
  readonly descriptorTable: bigint;
  readonly availableRing: bigint;
  readonly usedRing: bigint;
}

/** Takes ownership of `fd`. Throws {@link VhostUserError} unless it is an eventfd. */
function adoptEventFd(fd: number | undefined): EventFd | undefined {
  if (fd === undefined) return undefined;
  // Reading or writing a file could block this thread. An anonymous inode, which has no type, cannot once it is
  // told not to; /proc would say which it is, but may not be there.
  if ((fstatSync(fd).mode & constants.S_IFMT) === 0) setNonBlocking(fd);
  else {
    closeFd(fd);
    throw new VhostUserError("ERR_VIRTIO_VHOST_USER_STATE", "a vring descriptor is not an eventfd");
  }
  return new EventFd(fd);
}

/**
 * What a front-end has said about one ring, and its three eventfds. The ring is started by a kick
 * descriptor and stopped by GET_VRING_BASE; started, it can still be disabled. The device keeps the queue of
 * a ring that is stopped: the front-end may start it again where it was.
 */
export class Vring implements Disposable {
  readonly index: number;
  size = 0;
  addresses: VringAddresses | undefined;
  /** The next available-ring entry to take when the ring starts. */
  base = 0;
  enabled = false;
  /** The device's queue, which does not run while the ring is stopped; `undefined` while there is none. */
  queue: Virtqueue | undefined;
  /** The base that was told when a ring of the device was stopped; `undefined` while it is not. */
  stoppedAt: number | undefined;
  #kick: EventFd | undefined;
  #watch: Watch | undefined;
  #call: EventFd | undefined;
  #error: EventFd | undefined;

  constructor(index: number) {
    this.index = index;
  }

  /** All that is needed to run the ring has arrived. */
  get configured(): boolean {
    return this.#kick !== undefined && this.size > 0 && this.addresses !== undefined;
  }

  /** The device works on the ring, or will once it is enabled. */
  get running(): boolean {
    return this.queue !== undefined && this.stoppedAt === undefined;
  }

  /** Starts the ring: `onDoorbell` hears of new requests. Takes ownership of `fd`. */
  start(fd: number, onDoorbell: () => void): void {
    const kick = adoptEventFd(fd);
    this.mute();
    this.#kick = kick;
    this.#watch = kick?.watch(onDoorbell);
  }

  /** Stops the ring where it is; the device keeps its queue. */
  stop(): void {
    this.mute();
    if (this.queue === undefined) return;
    this.queue.suspend();
    this.base = this.queue.lastAvailableIndex;
    this.stoppedAt = this.base;
  }

  /** Lets a queue that was quiesced or suspended run on. */
  resume(): void {
    this.queue?.resume();
    this.stoppedAt = undefined;
  }

  /** Ends the doorbells; the device may still hand back what it has taken. */
  mute(): void {
    this.#watch?.close();
    this.#watch = undefined;
    this.#kick?.close();
    this.#kick = undefined;
  }

  /** Ends the device's use of the ring, which stays as configured. */
  detach(): void {
    if (this.queue === undefined) return;
    // What the front-end has said since the ring was stopped holds.
    if (this.stoppedAt === undefined) this.base = this.queue.lastAvailableIndex;
    this.stoppedAt = undefined;
    this.queue.close();
    this.queue = undefined;
  }

  /** Replaces the interrupt; without one, the driver polls. Takes ownership of `fd`. */
  setCall(fd: number | undefined): void {
    const call = adoptEventFd(fd);
    this.#call?.close();
    this.#call = call;
    // QEMU gives it last, when the ring runs already: the driver may have missed an interrupt.
    if (this.running) call?.signal();
  }

  /** Replaces what is signalled when the ring breaks. Takes ownership of `fd`. */
  setError(fd: number | undefined): void {
    const error = adoptEventFd(fd);
    this.#error?.close();
    this.#error = error;
  }

  readonly interrupt = (): void => this.#call?.signal();

  signalError(): void {
    this.#error?.signal();
  }

  [Symbol.dispose](): void {
    this.mute();
    this.detach();
    this.setCall(undefined);
    this.setError(undefined);
  }
}
