import { defineStruct } from "@supermachine-internal/struct";
import type { DescriptorChain } from "../../queue/descriptor-chain.js";
import type { Virtqueue } from "../../queue/virtqueue.js";
import type { DeviceContext, VirtioDevice } from "../device.js";
import { QueueService } from "../queue-service.js";

/** `<linux/virtio_ids.h>` */
export const VIRTIO_ID_CONSOLE = 3;

/** `<linux/virtio_console.h>` */
export const VIRTIO_CONSOLE_F_SIZE = 1n << 0n;
export const VIRTIO_CONSOLE_F_EMERG_WRITE = 1n << 2n;

export const virtioConsoleConfig = defineStruct("virtio_console_config", 12, {
  cols: "u16",
  rows: "u16",
  max_nr_ports: "u32",
  emerg_wr: "u32",
});

/** In character cells. */
export interface ConsoleSize {
  readonly columns: number;
  readonly rows: number;
}

export interface ConsoleOptions {
  /** What the guest printed; the bytes are the callee's to keep. */
  readonly onOutput: (bytes: Uint8Array) => void;
  /** Input is below its limit again, after `input()` answered `false`. */
  readonly onDrain?: () => void;
  /** The terminal's size; without one the guest is told none until `resize()`. */
  readonly size?: ConsoleSize;
}

const RECEIVE_QUEUE = 0;
const TRANSMIT_QUEUE = 1;
const QUEUE_SIZE = 128;
/** Input kept for a guest that does not read, in bytes. */
const INPUT_LIMIT = 64 << 10;
/** Output taken from one request, in bytes; a console driver sends a page at most, the rest is dropped. */
const MAX_OUTPUT = 1 << 20;

/** Console device with one port (virtio 1.2, section 5.3). */
export class ConsoleDevice implements VirtioDevice {
  readonly deviceId = VIRTIO_ID_CONSOLE;
  readonly features = VIRTIO_CONSOLE_F_SIZE | VIRTIO_CONSOLE_F_EMERG_WRITE;
  readonly queueSizes = [QUEUE_SIZE, QUEUE_SIZE];
  readonly config = new Uint8Array(virtioConsoleConfig.size);
  readonly #onOutput: (bytes: Uint8Array) => void;
  readonly #onDrain: (() => void) | undefined;
  #receive: Virtqueue | undefined;
  #transmit: QueueService | undefined;
  #raiseConfigChange: (() => void) | undefined;
  #input: Uint8Array[] = [];
  #inputLength = 0;
  #inputBlocked = false;

  constructor(options: ConsoleOptions) {
    this.#onOutput = options.onOutput;
    this.#onDrain = options.onDrain;
    this.#setSize(options.size ?? { columns: 0, rows: 0 });
  }

  /**
   * Types `bytes` to the guest; they are copied. Answers `false` when 64 KiB wait for the guest: hold
   * further input until `onDrain`.
   */
  input(bytes: Uint8Array): boolean {
    this.#input.push(bytes.slice());
    this.#inputLength += bytes.length;
    this.#sendInput();
    this.#inputBlocked = this.#inputLength >= INPUT_LIMIT;
    return !this.#inputBlocked;
  }

  /** Tells the guest the terminal's new size. Throws `RangeError` outside of 0 to 65535. */
  resize(size: ConsoleSize): void {
    this.#setSize(size);
    this.#raiseConfigChange?.();
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    if (offset === virtioConsoleConfig.offsets.emerg_wr) this.#onOutput(bytes.slice(0, 1));
  }

  activate({ queues, raiseConfigChange, fail }: DeviceContext): void {
    this.#receive = queues[RECEIVE_QUEUE];
    this.#raiseConfigChange = raiseConfigChange;
    const transmit = queues[TRANSMIT_QUEUE];
    if (transmit === undefined) return;
    const serve = (chain: DescriptorChain) => {
      const output = copyOutput(chain);
      transmit.addUsed(chain, 0);
      for (const bytes of output) this.#onOutput(bytes);
      return true;
    };
    this.#transmit = new QueueService(transmit, { serve, fail });
  }

  notify(queueIndex: number): void {
    if (queueIndex === RECEIVE_QUEUE) this.#sendInput();
    else this.#transmit?.run();
  }

  reset(): void {
    this.#transmit?.stop();
    this.#transmit = undefined;
    this.#receive = undefined;
    this.#raiseConfigChange = undefined;
  }

  close(): void {
    this.reset();
    this.#input = [];
    this.#inputLength = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #setSize({ columns, rows }: ConsoleSize): void {
    for (const cells of [columns, rows]) {
      if (!Number.isInteger(cells) || cells < 0 || cells > 0xffff) {
        throw new RangeError(`console size ${columns}x${rows}: must be 0 to 65535 each`);
      }
    }
    virtioConsoleConfig.encode({ cols: columns, rows, max_nr_ports: 1, emerg_wr: 0 }, this.config);
  }

  #sendInput(): void {
    const queue = this.#receive;
    if (queue === undefined) return;
    do {
      while (this.#inputLength > 0) {
        const chain = queue.pop();
        if (chain === undefined) break;
        queue.addUsed(chain, this.#fill(chain));
      }
      queue.notifyUsed();
    } while (queue.enableNotifications() && this.#inputLength > 0);
    if (this.#inputBlocked && this.#inputLength < INPUT_LIMIT) {
      this.#inputBlocked = false;
      this.#onDrain?.();
    }
  }

  /** Moves waiting input into a chain; answers the bytes written. */
  #fill(chain: DescriptorChain): number {
    let written = 0;
    for (let first = this.#input[0]; first !== undefined; first = this.#input[0]) {
      const count = chain.write(written, first);
      written += count;
      if (count < first.length) {
        this.#input[0] = first.subarray(count);
        break;
      }
      this.#input.shift();
    }
    this.#inputLength -= written;
    return written;
  }
}

function copyOutput(chain: DescriptorChain): Uint8Array[] {
  const output: Uint8Array[] = [];
  let left = MAX_OUTPUT;
  for (const buffer of chain.readable) {
    const count = Math.min(left, buffer.length);
    if (count === 0) break;
    output.push(Uint8Array.prototype.slice.call(buffer, 0, count));
    left -= count;
  }
  return output;
}
