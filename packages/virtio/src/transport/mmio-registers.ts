import { VirtioError } from "../error.js";
import { TRANSPORT_FEATURES, VIRTIO_F_VERSION_1 } from "../feature.js";
import {
  MMIO_CONFIG_SIZE,
  MMIO_WINDOW_SIZE,
  mmioHeader,
  mmioQueue,
  VIRTIO_CONFIG_S_DRIVER_OK,
  VIRTIO_CONFIG_S_FEATURES_OK,
  VIRTIO_CONFIG_S_NEEDS_RESET,
  VIRTIO_MMIO_CONFIG,
  VIRTIO_MMIO_CONFIG_GENERATION,
  VIRTIO_MMIO_DEVICE_FEATURES,
  VIRTIO_MMIO_DEVICE_FEATURES_SEL,
  VIRTIO_MMIO_DEVICE_ID,
  VIRTIO_MMIO_DRIVER_FEATURES,
  VIRTIO_MMIO_DRIVER_FEATURES_SEL,
  VIRTIO_MMIO_INTERRUPT_ACK,
  VIRTIO_MMIO_INTERRUPT_STATUS,
  VIRTIO_MMIO_MAGIC_VALUE,
  VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
  VIRTIO_MMIO_QUEUE_AVAIL_LOW,
  VIRTIO_MMIO_QUEUE_DESC_HIGH,
  VIRTIO_MMIO_QUEUE_DESC_LOW,
  VIRTIO_MMIO_QUEUE_NOTIFY,
  VIRTIO_MMIO_QUEUE_NUM,
  VIRTIO_MMIO_QUEUE_NUM_MAX,
  VIRTIO_MMIO_QUEUE_READY,
  VIRTIO_MMIO_QUEUE_SEL,
  VIRTIO_MMIO_QUEUE_USED_HIGH,
  VIRTIO_MMIO_QUEUE_USED_LOW,
  VIRTIO_MMIO_SHM_BASE_HIGH,
  VIRTIO_MMIO_SHM_BASE_LOW,
  VIRTIO_MMIO_SHM_LEN_HIGH,
  VIRTIO_MMIO_SHM_LEN_LOW,
  VIRTIO_MMIO_SHM_SEL,
  VIRTIO_MMIO_STATUS,
  VIRTIO_MMIO_VENDOR_ID,
  VIRTIO_MMIO_VERSION,
} from "./mmio-layout.js";

/** What the thread that trapped a register write must have the device thread do, in order. */
export const MmioAction = {
  /** Nothing: the shared registers hold it all. */
  none: 0,
  /** The driver set DRIVER_OK. */
  activate: 1,
  /** The driver reset the device. */
  reset: 2,
  /** A doorbell, where the hypervisor does not deliver it by itself; the value is the queue's index. */
  notify: 3,
  /** A write to the configuration space. */
  config: 4,
} as const;
export type MmioAction = (typeof MmioAction)[keyof typeof MmioAction];

/** What the registers say about a device. */
export interface MmioDeviceIdentity {
  readonly deviceId: number;
  readonly features: bigint;
  readonly queueSizes: readonly number[];
  readonly config: Uint8Array;
}

/** A shared memory region of a device and where the machine shows it to the guest. */
export interface MmioSharedMemory {
  /** shmid, 0 to 255. */
  readonly id: number;
  /** Bytes. */
  readonly length: number;
  readonly guestAddress: number;
}

/** What the driver told about one queue. */
export interface MmioQueueRegisters {
  readonly size: number;
  readonly ready: boolean;
  readonly descriptorTable: number;
  readonly availableRing: number;
  readonly usedRing: number;
}

const DEVICE_ID = mmioHeader.offsets.device_id >>> 2;
const DEVICE_FEATURES_LOW = mmioHeader.offsets.device_features_low >>> 2;
const DEVICE_FEATURES_HIGH = mmioHeader.offsets.device_features_high >>> 2;
const QUEUE_COUNT = mmioHeader.offsets.queue_count >>> 2;
const SHM_ID = mmioHeader.offsets.shm_id >>> 2;
const SHM_LEN_LOW = mmioHeader.offsets.shm_len_low >>> 2;
const SHM_LEN_HIGH = mmioHeader.offsets.shm_len_high >>> 2;
const SHM_BASE_LOW = mmioHeader.offsets.shm_base_low >>> 2;
const SHM_BASE_HIGH = mmioHeader.offsets.shm_base_high >>> 2;
const DEVICE_FEATURES_SEL = mmioHeader.offsets.device_features_sel >>> 2;
const DRIVER_FEATURES_SEL = mmioHeader.offsets.driver_features_sel >>> 2;
const DRIVER_FEATURES_LOW = mmioHeader.offsets.driver_features_low >>> 2;
const DRIVER_FEATURES_HIGH = mmioHeader.offsets.driver_features_high >>> 2;
const QUEUE_SEL = mmioHeader.offsets.queue_sel >>> 2;
const SHM_SEL = mmioHeader.offsets.shm_sel >>> 2;
const INTERRUPT_STATUS = mmioHeader.offsets.interrupt_status >>> 2;
const STATUS = mmioHeader.offsets.status >>> 2;
const CONFIG_GENERATION = mmioHeader.offsets.config_generation >>> 2;
const CONFIG = mmioHeader.size >>> 2;
const QUEUES = (mmioHeader.size + MMIO_CONFIG_SIZE) >>> 2;
const QUEUE_WORDS = mmioQueue.size >>> 2;

const MAGIC = 0x74726976; // "virt"
const VERSION = 2;
const VENDOR_ID = 0x4d535553; // "SUSM"
const STATUS_MASK = 0xff;
const RESET_COUNT_STEP = 0x100;
/** Section 4.2.2: every word of length and base where there is no such region. */
const NO_SHARED_MEMORY = 0xffff_ffff;

/** Queue registers and the word of a queue's record that each one is. */
const queueRegister = new Map<number, number>([
  [VIRTIO_MMIO_QUEUE_NUM, mmioQueue.offsets.num >>> 2],
  [VIRTIO_MMIO_QUEUE_DESC_LOW, mmioQueue.offsets.desc_low >>> 2],
  [VIRTIO_MMIO_QUEUE_DESC_HIGH, mmioQueue.offsets.desc_high >>> 2],
  [VIRTIO_MMIO_QUEUE_AVAIL_LOW, mmioQueue.offsets.avail_low >>> 2],
  [VIRTIO_MMIO_QUEUE_AVAIL_HIGH, mmioQueue.offsets.avail_high >>> 2],
  [VIRTIO_MMIO_QUEUE_USED_LOW, mmioQueue.offsets.used_low >>> 2],
  [VIRTIO_MMIO_QUEUE_USED_HIGH, mmioQueue.offsets.used_high >>> 2],
]);

/**
 * The register file of one virtio-mmio device (version 2; virtio 1.2, section 4.2.2) in shared memory.
 * vCPU threads answer the guest's accesses from it with `read` and `write`, without waiting for the
 * thread that runs the device; each has its own `MmioRegisters` over the same buffer. The same class
 * serves a single thread.
 *
 * Only what a `write` returns other than `MmioAction.none` goes to `MmioDevice.handle`, in the order
 * in which one driver wrote it. The state is nothing but these bytes.
 */
export class MmioRegisters {
  /** Post this, with `byteOffset`, to attach another thread. */
  readonly buffer: SharedArrayBuffer | ArrayBuffer;
  readonly byteOffset: number;
  readonly #words: Uint32Array;

  /** Attaches to registers made by {@link MmioRegisters.create}; `byteOffset` is a multiple of 4. */
  constructor(buffer: SharedArrayBuffer | ArrayBuffer, byteOffset = 0) {
    this.buffer = buffer;
    this.byteOffset = byteOffset;
    const queueCount = new Uint32Array(buffer, byteOffset, CONFIG)[QUEUE_COUNT] ?? 0;
    this.#words = new Uint32Array(buffer, byteOffset, QUEUES + queueCount * QUEUE_WORDS);
  }

  /** Bytes that the registers of a device with that many queues take. */
  static byteLength(queueCount: number): number {
    return (QUEUES + queueCount * QUEUE_WORDS) * 4;
  }

  /**
   * Writes the power-on state of a device into `buffer`, by default a new SharedArrayBuffer.
   *
   * @throws VirtioError `ERR_VIRTIO_DEVICE_OPTIONS` when its configuration space exceeds 256 bytes.
   */
  static create(
    device: MmioDeviceIdentity,
    buffer: SharedArrayBuffer | ArrayBuffer = new SharedArrayBuffer(
      MmioRegisters.byteLength(device.queueSizes.length),
    ),
    byteOffset = 0,
    sharedMemory?: MmioSharedMemory,
  ): MmioRegisters {
    if (device.config.length > MMIO_CONFIG_SIZE) {
      throw new VirtioError(
        "ERR_VIRTIO_DEVICE_OPTIONS",
        `device ${device.deviceId}: a configuration space of ${device.config.length} bytes exceeds ${MMIO_CONFIG_SIZE}`,
      );
    }
    const length = MmioRegisters.byteLength(device.queueSizes.length);
    const words = new Uint32Array(buffer, byteOffset, length >>> 2);
    const features = device.features | TRANSPORT_FEATURES;
    words.fill(0);
    words[DEVICE_ID] = device.deviceId;
    words[DEVICE_FEATURES_LOW] = Number(features & 0xffff_ffffn);
    words[DEVICE_FEATURES_HIGH] = Number(features >> 32n);
    words[QUEUE_COUNT] = device.queueSizes.length;
    words[SHM_ID] = sharedMemory?.id ?? 0;
    const { length: shmLength = -1, guestAddress: shmBase = -1 } = sharedMemory ?? {};
    words[SHM_LEN_LOW] = shmLength;
    words[SHM_LEN_HIGH] = Math.floor(shmLength / 2 ** 32);
    words[SHM_BASE_LOW] = shmBase;
    words[SHM_BASE_HIGH] = Math.floor(shmBase / 2 ** 32);
    for (const [index, size] of device.queueSizes.entries()) {
      words[QUEUES + index * QUEUE_WORDS + (mmioQueue.offsets.num_max >>> 2)] = size;
    }
    const registers = new MmioRegisters(buffer, byteOffset);
    registers.publishConfig(device.config);
    return registers;
  }

  /**
   * The guest reads `size` bytes at `offset` of the window. Registers answer only to aligned 32-bit
   * reads (section 4.2.2.2), the configuration space to 1, 2 and 4 bytes; anything else reads 0.
   */
  read(offset: number, size: number): number {
    if (offset >= VIRTIO_MMIO_CONFIG) return this.#readConfig(offset - VIRTIO_MMIO_CONFIG, size);
    if (size !== 4) return 0;
    switch (offset) {
      case VIRTIO_MMIO_MAGIC_VALUE:
        return MAGIC;
      case VIRTIO_MMIO_VERSION:
        return VERSION;
      case VIRTIO_MMIO_DEVICE_ID:
        return this.#load(DEVICE_ID);
      case VIRTIO_MMIO_VENDOR_ID:
        return VENDOR_ID;
      case VIRTIO_MMIO_DEVICE_FEATURES:
        return this.#readDeviceFeatures();
      case VIRTIO_MMIO_QUEUE_NUM_MAX:
        return this.#readSelectedQueue(mmioQueue.offsets.num_max >>> 2);
      case VIRTIO_MMIO_QUEUE_READY:
        return this.#readSelectedQueue(mmioQueue.offsets.ready >>> 2);
      case VIRTIO_MMIO_INTERRUPT_STATUS:
        return this.#load(INTERRUPT_STATUS);
      case VIRTIO_MMIO_STATUS:
        return this.status;
      case VIRTIO_MMIO_SHM_LEN_LOW:
        return this.#readSharedMemory(SHM_LEN_LOW);
      case VIRTIO_MMIO_SHM_LEN_HIGH:
        return this.#readSharedMemory(SHM_LEN_HIGH);
      case VIRTIO_MMIO_SHM_BASE_LOW:
        return this.#readSharedMemory(SHM_BASE_LOW);
      case VIRTIO_MMIO_SHM_BASE_HIGH:
        return this.#readSharedMemory(SHM_BASE_HIGH);
      case VIRTIO_MMIO_CONFIG_GENERATION:
        return this.#readConfigGeneration();
      default:
        return 0;
    }
  }

  /** The guest writes `value`; what is returned must be passed on to `MmioDevice.handle`. */
  write(offset: number, size: number, value: number): MmioAction {
    if (offset >= VIRTIO_MMIO_CONFIG) {
      return offset + size <= MMIO_WINDOW_SIZE ? MmioAction.config : MmioAction.none;
    }
    if (size !== 4) return MmioAction.none;
    switch (offset) {
      case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
        this.#store(DEVICE_FEATURES_SEL, value);
        return MmioAction.none;
      case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
        this.#store(DRIVER_FEATURES_SEL, value);
        return MmioAction.none;
      case VIRTIO_MMIO_DRIVER_FEATURES:
        this.#writeDriverFeatures(value);
        return MmioAction.none;
      case VIRTIO_MMIO_QUEUE_SEL:
        this.#store(QUEUE_SEL, value);
        return MmioAction.none;
      case VIRTIO_MMIO_SHM_SEL:
        this.#store(SHM_SEL, value);
        return MmioAction.none;
      case VIRTIO_MMIO_QUEUE_READY:
        this.#writeSelectedQueue(mmioQueue.offsets.ready >>> 2, value & 1);
        return MmioAction.none;
      case VIRTIO_MMIO_QUEUE_NOTIFY:
        return value >>> 0 < this.queueCount ? MmioAction.notify : MmioAction.none;
      case VIRTIO_MMIO_INTERRUPT_ACK:
        Atomics.and(this.#words, INTERRUPT_STATUS, ~value);
        return MmioAction.none;
      case VIRTIO_MMIO_STATUS:
        return this.#writeStatus(value & STATUS_MASK);
      default: {
        const word = queueRegister.get(offset);
        if (word !== undefined) this.#writeWhileDisabled(word, value);
        return MmioAction.none;
      }
    }
  }

  /** The device status byte. */
  get status(): number {
    return this.#load(STATUS) & STATUS_MASK;
  }

  /** Changes with every reset; see {@link MmioRegisters.markNeedsReset}. */
  get resetCount(): number {
    return this.#load(STATUS) >>> 8;
  }

  /** The feature bits that the driver accepted. */
  get driverFeatures(): bigint {
    return (
      BigInt(this.#load(DRIVER_FEATURES_LOW)) | (BigInt(this.#load(DRIVER_FEATURES_HIGH)) << 32n)
    );
  }

  get queueCount(): number {
    return this.#load(QUEUE_COUNT);
  }

  /** What the driver said about a queue below `queueCount`; unchecked values of the guest. */
  queue(index: number): MmioQueueRegisters {
    const at = QUEUES + index * QUEUE_WORDS;
    const word = (offset: number) => this.#load(at + (offset >>> 2));
    const { offsets } = mmioQueue;
    return {
      size: word(offsets.num),
      ready: word(offsets.ready) === 1,
      descriptorTable: word(offsets.desc_low) + word(offsets.desc_high) * 2 ** 32,
      availableRing: word(offsets.avail_low) + word(offsets.avail_high) * 2 ** 32,
      usedRing: word(offsets.used_low) + word(offsets.used_high) * 2 ** 32,
    };
  }

  /** Sets bits of the interrupt status; the caller raises the interrupt line after. */
  raise(interruptStatus: number): void {
    Atomics.or(this.#words, INTERRUPT_STATUS, interruptStatus);
  }

  /**
   * Sets DEVICE_NEEDS_RESET unless the driver has reset the device since `resetCount`; answers whether
   * a driver must be told of it (section 2.1.2).
   */
  markNeedsReset(resetCount: number): boolean {
    for (;;) {
      const seen = this.#load(STATUS);
      if (seen >>> 8 !== resetCount) return false;
      const marked = (seen | VIRTIO_CONFIG_S_NEEDS_RESET) >>> 0;
      if (Atomics.compareExchange(this.#words, STATUS, seen, marked) === seen) {
        return (seen & VIRTIO_CONFIG_S_DRIVER_OK) !== 0;
      }
    }
  }

  /**
   * Replaces the configuration space; a driver that reads meanwhile sees the generation change.
   * Answers whether anything differed.
   */
  publishConfig(config: Uint8Array): boolean {
    const wordCount = Math.ceil(config.length / 4);
    const wordOf = (index: number) => {
      let value = 0;
      for (let byte = 3; byte >= 0; byte--) value = value * 256 + (config[index * 4 + byte] ?? 0);
      return value;
    };
    let changed = false;
    for (let index = 0; index < wordCount; index++) {
      changed ||= this.#load(CONFIG + index) !== wordOf(index);
    }
    if (!changed) return false;
    Atomics.add(this.#words, CONFIG_GENERATION, 1);
    for (let index = 0; index < wordCount; index++) this.#store(CONFIG + index, wordOf(index));
    Atomics.add(this.#words, CONFIG_GENERATION, 1);
    return true;
  }

  /** A copy of the state, for a snapshot. */
  save(): Uint8Array {
    return new Uint8Array(
      new Uint8Array(this.buffer, this.byteOffset, this.#words.length * 4),
    ).slice();
  }

  /**
   * Brings back a saved state.
   *
   * @throws VirtioError `ERR_VIRTIO_STATE_MISMATCH` when it belongs to a different device.
   */
  restore(state: Uint8Array): void {
    const saved = new Uint32Array(this.#words.length);
    const sameLength = state.length === saved.length * 4;
    if (sameLength) new Uint8Array(saved.buffer).set(state);
    const fixed = Array.from({ length: DEVICE_FEATURES_SEL }, (_, word) => word);
    for (let queue = 0; queue < this.queueCount; queue++) fixed.push(QUEUES + queue * QUEUE_WORDS);
    if (!sameLength || fixed.some((word) => saved[word] !== this.#words[word])) {
      throw new VirtioError(
        "ERR_VIRTIO_STATE_MISMATCH",
        `saved registers of ${state.length} bytes are not those of device ${this.#load(DEVICE_ID)} as configured now`,
      );
    }
    // The configuration space is the device's own; the rest is what the driver wrote.
    for (let word = DEVICE_FEATURES_SEL; word < this.#words.length; word++) {
      const isConfig = word >= CONFIG && word < QUEUES;
      if (!isConfig && word !== CONFIG_GENERATION) this.#store(word, saved[word] ?? 0);
    }
  }

  #load(word: number): number {
    return Atomics.load(this.#words, word);
  }

  #store(word: number, value: number): void {
    Atomics.store(this.#words, word, value >>> 0);
  }

  #readConfig(offset: number, size: number): number {
    if (size !== 1 && size !== 2 && size !== 4) return 0;
    if (offset + size > MMIO_CONFIG_SIZE) return 0;
    let value = 0;
    for (let at = offset + size - 1; at >= offset; at--) {
      value = value * 256 + ((this.#load(CONFIG + (at >>> 2)) >>> ((at & 3) * 8)) & 0xff);
    }
    return value;
  }

  #readConfigGeneration(): number {
    const generation = this.#load(CONFIG_GENERATION);
    // Odd: publishConfig is at work. Changing it here makes no two reads agree until it is done.
    return generation & 1 ? Atomics.add(this.#words, CONFIG_GENERATION, 2) : generation;
  }

  #readDeviceFeatures(): number {
    const select = this.#load(DEVICE_FEATURES_SEL);
    return select > 1 ? 0 : this.#load(select === 0 ? DEVICE_FEATURES_LOW : DEVICE_FEATURES_HIGH);
  }

  #readSharedMemory(word: number): number {
    return this.#load(SHM_SEL) === this.#load(SHM_ID) ? this.#load(word) : NO_SHARED_MEMORY;
  }

  #writeDriverFeatures(value: number): void {
    if (this.status & VIRTIO_CONFIG_S_FEATURES_OK) return;
    const select = this.#load(DRIVER_FEATURES_SEL);
    if (select === 0) this.#store(DRIVER_FEATURES_LOW, value);
    else if (select === 1) this.#store(DRIVER_FEATURES_HIGH, value);
  }

  #readSelectedQueue(word: number): number {
    const queue = this.#load(QUEUE_SEL);
    return queue < this.queueCount ? this.#load(QUEUES + queue * QUEUE_WORDS + word) : 0;
  }

  #writeSelectedQueue(word: number, value: number): void {
    const queue = this.#load(QUEUE_SEL);
    if (queue < this.queueCount) this.#store(QUEUES + queue * QUEUE_WORDS + word, value);
  }

  /** Section 4.2.2.2: the driver must not touch these while QueueReady is set. */
  #writeWhileDisabled(word: number, value: number): void {
    if (this.#readSelectedQueue(mmioQueue.offsets.ready >>> 2) === 0) {
      this.#writeSelectedQueue(word, value);
    }
  }

  #writeStatus(value: number): MmioAction {
    for (;;) {
      const seen = this.#load(STATUS);
      if (value === 0) {
        const cleared = ((seen & ~STATUS_MASK) + RESET_COUNT_STEP) >>> 0;
        if (Atomics.compareExchange(this.#words, STATUS, seen, cleared) !== seen) continue;
        this.#clearDriverState();
        return MmioAction.reset;
      }
      const next = this.#nextStatus(seen, value);
      if (Atomics.compareExchange(this.#words, STATUS, seen, next) !== seen) continue;
      const started = (next & ~seen & VIRTIO_CONFIG_S_DRIVER_OK) !== 0;
      return started ? MmioAction.activate : MmioAction.none;
    }
  }

  /** Section 3.1.1: bits are only added, FEATURES_OK when we agree, DRIVER_OK only after FEATURES_OK. */
  #nextStatus(seen: number, value: number): number {
    let added = value & ~seen & ~VIRTIO_CONFIG_S_NEEDS_RESET;
    if (added & VIRTIO_CONFIG_S_FEATURES_OK && !this.#featuresAcceptable()) {
      added &= ~VIRTIO_CONFIG_S_FEATURES_OK;
    }
    if (((seen | added) & VIRTIO_CONFIG_S_FEATURES_OK) === 0) added &= ~VIRTIO_CONFIG_S_DRIVER_OK;
    if (seen & VIRTIO_CONFIG_S_NEEDS_RESET) added &= ~VIRTIO_CONFIG_S_DRIVER_OK;
    return (seen | added) >>> 0;
  }

  #featuresAcceptable(): boolean {
    const refused =
      (this.#load(DRIVER_FEATURES_LOW) & ~this.#load(DEVICE_FEATURES_LOW)) |
      (this.#load(DRIVER_FEATURES_HIGH) & ~this.#load(DEVICE_FEATURES_HIGH));
    return refused === 0 && (this.driverFeatures & VIRTIO_F_VERSION_1) !== 0n;
  }

  #clearDriverState(): void {
    for (let word = DEVICE_FEATURES_SEL; word <= INTERRUPT_STATUS; word++) this.#store(word, 0);
    for (let queue = 0; queue < this.queueCount; queue++) {
      const at = QUEUES + queue * QUEUE_WORDS;
      for (let word = 1; word < QUEUE_WORDS; word++) this.#store(at + word, 0);
    }
  }
}
