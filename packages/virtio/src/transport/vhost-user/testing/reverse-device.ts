import type { DeviceContext, VirtioDevice } from "../../../device/device.js";
import type { DescriptorChain } from "../../../queue/descriptor-chain.js";

/** A device with two queues that answers each request with its bytes reversed, at once or when told. */
export class ReverseDevice implements VirtioDevice {
  readonly deviceId = 42;
  readonly features = 1n;
  readonly queueSizes = [8, 8];
  readonly config = Uint8Array.of(1, 2, 3, 4);
  /** Requests stay in flight until {@link ReverseDevice.finish}. */
  hold = false;
  context: DeviceContext | undefined;
  activations = 0;
  resets = 0;
  readonly held: DescriptorChain[] = [];

  writeConfig(offset: number, bytes: Uint8Array): void {
    this.config.set(bytes.subarray(0, Math.max(0, this.config.length - offset)), offset);
  }

  activate(context: DeviceContext): void {
    this.activations++;
    this.context = context;
  }

  notify(queueIndex: number): void {
    const queue = this.context?.queues[queueIndex];
    if (queue === undefined) return;
    do {
      for (let chain = queue.pop(); chain; chain = queue.pop()) {
        if (this.hold) this.held.push(chain);
        else this.#answer(chain);
      }
    } while (queue.enableNotifications());
  }

  finish(): void {
    for (const chain of this.held.splice(0)) this.#answer(chain);
  }

  #answer(chain: DescriptorChain): void {
    const bytes = new Uint8Array(chain.readableLength);
    chain.read(0, bytes);
    chain.complete(chain.write(0, bytes.reverse()));
  }

  reset(): void {
    if (this.context !== undefined) this.resets++;
    this.context = undefined;
  }

  close(): void {
    this.reset();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
