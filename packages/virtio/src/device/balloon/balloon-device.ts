import { VirtioError } from "../../error.js";
import type { GuestMemory } from "../../memory/guest-memory.js";
import type { DescriptorChain } from "../../queue/descriptor-chain.js";
import type { Virtqueue } from "../../queue/virtqueue.js";
import type { DeviceContext, VirtioDevice } from "../device.js";
import { QueueService } from "../queue-service.js";
import {
  VIRTIO_BALLOON_F_DEFLATE_ON_OOM,
  VIRTIO_BALLOON_F_REPORTING,
  VIRTIO_BALLOON_F_STATS_VQ,
  VIRTIO_BALLOON_PFN_SHIFT,
  VIRTIO_ID_BALLOON,
  virtioBalloonConfig,
} from "./balloon-layout.js";
import { decodeStatistics, type MemoryStatistics } from "./statistics.js";

const QUEUE_SIZE = 128;
const PAGE_SIZE = 1 << VIRTIO_BALLOON_PFN_SHIFT;
/**
 * Pages of one inflate request that are given back; Linux sends no more. Each may cost a system call, so
 * there must be a limit, and a page that is kept does no harm.
 */
const MAX_PAGES = 256;
/** Bytes of one answer to a request for statistics: twenty of them, twice what Linux knows. */
const MAX_STATISTICS = 200;
const U32_LIMIT = 2 ** 32;

/** What serves one of the device's queues. */
type Service = (queue: Virtqueue, chain: DescriptorChain) => void;

/**
 * Memory balloon device (virtio 1.2, section 5.5). Memory that the guest has free goes back to the host by
 * itself, as the guest reports it (section 5.5.6.6), and what {@link BalloonDevice.targetBytes} asks for
 * beyond that is taken from the guest; one that runs out of memory takes it back on its own.
 *
 * PAGE_POISON is not offered: so a driver treats what it reported as uninitialised, and does not report
 * when its kernel relies on the contents of free pages (section 5.5.6.5). That is what allows
 * memory to come back with older contents, as it does when it is mapped from a snapshot's file.
 */
export class BalloonDevice implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_BALLOON;
  readonly features =
    VIRTIO_BALLOON_F_STATS_VQ | VIRTIO_BALLOON_F_DEFLATE_ON_OOM | VIRTIO_BALLOON_F_REPORTING;
  /** Inflate, deflate, statistics, reporting. */
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE];
  readonly config = new Uint8Array(virtioBalloonConfig.size);
  readonly #config = new DataView(this.config.buffer);
  readonly #pages = new Uint32Array(MAX_PAGES);
  readonly #pageBytes = new Uint8Array(this.#pages.buffer);
  readonly #waiting = new Set<(statistics: MemoryStatistics | undefined) => void>();
  #services: readonly (QueueService | undefined)[] = [];
  #context: DeviceContext | undefined;
  #statisticsQueue: Virtqueue | undefined;
  #reportedBytes = 0;

  /** Bytes that the guest is asked to leave to the host; a multiple of 4096. */
  get targetBytes(): number {
    return this.#config.getUint32(virtioBalloonConfig.offsets.num_pages, true) * PAGE_SIZE;
  }

  /** @throws VirtioError `ERR_VIRTIO_DEVICE_OPTIONS` for a value that is no number of pages. */
  set targetBytes(bytes: number) {
    const pages = bytes / PAGE_SIZE;
    if (!Number.isInteger(pages) || pages < 0 || pages >= U32_LIMIT) {
      throw new VirtioError(
        "ERR_VIRTIO_DEVICE_OPTIONS",
        `a balloon of ${bytes} bytes: give a multiple of ${PAGE_SIZE} below 16 TiB`,
      );
    }
    this.#config.setUint32(virtioBalloonConfig.offsets.num_pages, pages, true);
    this.#context?.raiseConfigChange();
  }

  /** Bytes that the guest says it leaves to the host now. */
  get actualBytes(): number {
    return this.#config.getUint32(virtioBalloonConfig.offsets.actual, true) * PAGE_SIZE;
  }

  /** Bytes of free memory that the guest has reported so far; the same memory may count many times. */
  get reportedBytes(): number {
    return this.#reportedBytes;
  }

  /**
   * Asks the guest about its memory. Resolves with `undefined` when there is no driver that could tell, or
   * it does not within `timeoutMs`, as while the machine is paused. Never rejects.
   */
  statistics(timeoutMs = 1000): Promise<MemoryStatistics | undefined> {
    return new Promise((resolve) => {
      const finish = (statistics: MemoryStatistics | undefined) => {
        clearTimeout(timer);
        this.#waiting.delete(finish);
        resolve(statistics);
      };
      const timer = setTimeout(() => finish(undefined), timeoutMs);
      if (this.#statisticsQueue === undefined) return finish(undefined);
      this.#waiting.add(finish);
      if (this.#waiting.size === 1) this.#requestStatistics(this.#statisticsQueue);
    });
  }

  activate(context: DeviceContext): void {
    this.#context = context;
    const { features, fail, memory } = context;
    const inflate: Service = (queue, chain) => this.#inflate(memory, queue, chain);
    const deflate: Service = (queue, chain) => queue.addUsed(chain, 0);
    const report: Service = (queue, chain) => this.#report(memory, queue, chain);
    // Drivers number the queues that exist (Linux's virtio_find_vqs), so one without statistics has
    // the next one in its place.
    const hasStatistics = (features & VIRTIO_BALLOON_F_STATS_VQ) !== 0n;
    const services = [inflate, deflate, ...(hasStatistics ? [undefined] : []), report];
    this.#statisticsQueue = hasStatistics ? context.queues[2] : undefined;
    this.#services = services.map((serve, index) => {
      const queue = context.queues[index];
      if (queue === undefined || serve === undefined) return undefined;
      return new QueueService(queue, {
        serve: (chain) => {
          serve(queue, chain);
          return true;
        },
        fail,
      });
    });
  }

  notify(queueIndex: number): void {
    const queue = this.#statisticsQueue;
    if (queue !== undefined && queueIndex === 2) this.#receiveStatistics(queue);
    else this.#services[queueIndex]?.run();
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    const { actual } = virtioBalloonConfig.offsets;
    if (offset === actual && bytes.length === 4) this.config.set(bytes, actual);
  }

  counters(): Record<string, number> {
    return { reported_bytes: this.#reportedBytes };
  }

  /** What a snapshot keeps beside the rings: how much was asked for, and given. */
  saveState(): Uint8Array {
    return this.config.slice();
  }

  /** @throws VirtioError `ERR_VIRTIO_STATE_MISMATCH` for what {@link BalloonDevice.saveState} did not give. */
  restoreState(state: Uint8Array | undefined): void {
    if (state === undefined) return;
    if (state.length !== this.config.length) {
      throw new VirtioError(
        "ERR_VIRTIO_STATE_MISMATCH",
        `${state.length} bytes are not the state of a memory balloon`,
      );
    }
    this.config.set(state);
  }

  reset(): void {
    for (const service of this.#services) service?.stop();
    this.#services = [];
    this.#context = undefined;
    this.#statisticsQueue = undefined;
    this.#config.setUint32(virtioBalloonConfig.offsets.actual, 0, true);
    for (const finish of this.#waiting) finish(undefined);
  }

  close(): void {
    this.reset();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Gives back the pages whose numbers the guest lists, runs of them at once. */
  #inflate(memory: GuestMemory, queue: Virtqueue, chain: DescriptorChain): void {
    const count = Math.floor(chain.read(0, this.#pageBytes) / Uint32Array.BYTES_PER_ELEMENT);
    const pages = this.#pages;
    // Linux lists them as it finds them; behind the last one what is left of another list sorts last.
    pages.fill(U32_LIMIT - 1, count);
    pages.sort();
    for (let at = 0; at < count; ) {
      const first = pages[at] ?? 0;
      let length = 0;
      // A page may be listed twice.
      while (at < count && (pages[at] ?? 0) <= first + length) {
        length = (pages[at] ?? 0) - first + 1;
        at += 1;
      }
      memory.discard(first * PAGE_SIZE, length * PAGE_SIZE);
    }
    queue.addUsed(chain, 0);
  }

  /** Gives back the free memory that the guest's buffers cover. */
  #report(memory: GuestMemory, queue: Virtqueue, chain: DescriptorChain): void {
    for (const buffer of chain.writable) {
      const address = memory.addressOf(buffer);
      // A window of files is not the guest's memory.
      if (address === undefined) continue;
      memory.discard(address, buffer.length);
      this.#reportedBytes += buffer.length;
    }
    queue.addUsed(chain, 0);
  }

  /**
   * The driver leaves a buffer with the device at all times, and fills it anew when it is handed back. It
   * stays in the ring meanwhile, so that nothing is in flight when the machine is saved.
   */
  #requestStatistics(queue: Virtqueue): void {
    const chain = queue.pop();
    if (chain === undefined) return;
    queue.addUsed(chain, 0);
    queue.notifyUsed();
    if (queue.enableNotifications()) this.#receiveStatistics(queue);
  }

  #receiveStatistics(queue: Virtqueue): void {
    const chain = queue.pop();
    if (chain === undefined) {
      queue.enableNotifications();
      return;
    }
    const bytes = new Uint8Array(MAX_STATISTICS);
    const length = chain.read(0, bytes);
    queue.unpop(chain);
    if (this.#waiting.size === 0) return;
    const statistics = decodeStatistics(bytes.subarray(0, length));
    for (const finish of this.#waiting) finish(statistics);
  }
}
