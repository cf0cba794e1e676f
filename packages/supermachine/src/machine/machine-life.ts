import type { VmExit } from "./config.js";
import { MachineHost } from "./host.js";
import type { Listening } from "./remote-machine.js";
import { MachineService } from "./service.js";
import type { PreparedMachine } from "./starter.js";

/** Who had a process or thread started for a machine, as that sees it. */
export interface MachineOwner {
  /** Nobody is there any more. */
  readonly isGone: boolean;
  tell(listening: Listening): void;
}

/** The life of the machine for which a process or thread is there: it ends with its owner, unless it is detached. */
export class MachineLife {
  /** Settles when the machine, or what was to become one, has ended and released everything. */
  readonly ended: Promise<void>;
  readonly #prepared: PreparedMachine;
  readonly #owner: MachineOwner;
  readonly #abandoned = new AbortController();
  #service: MachineService | undefined;
  #host: MachineHost | undefined;
  #starting = false;
  #detached = false;
  #settle: () => void = () => {};

  constructor(prepared: PreparedMachine, owner: MachineOwner) {
    this.#prepared = prepared;
    this.#owner = owner;
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  /** Offers the control socket over which the owner starts the machine. */
  async open(): Promise<void> {
    const service = await MachineService.open(async ({ config, vm }, record) => {
      const { signal } = this.#abandoned;
      this.#starting = true;
      try {
        this.#host = await MachineHost.start(config, this.#prepared.start, record, { signal });
      } catch (error) {
        // After the client has the error.
        setImmediate(() => void this.#end());
        throw error;
      }
      void this.#host.exited.then(() => this.#end());
      // The owner may have gone in the meantime, with nobody else to know the machine yet.
      if (this.#owner.isGone) await this.abandon();
      this.#detached = vm.detached;
      return this.#host;
    });
    this.#service = service;
    // An owner that has gone already, or goes now, has not been heard of or will be.
    if (this.#owner.isGone) await this.#end();
    else this.#owner.tell({ directory: service.directory });
  }

  /** The owner is gone: so is the machine, unless it is detached. */
  async abandon(): Promise<void> {
    if (this.#detached) return;
    this.#abandoned.abort();
    // A start that is given up cleans up after itself, and ends all.
    if (this.#host !== undefined) await this.#host.kill();
    else if (!this.#starting && this.#service !== undefined) await this.#end();
  }

  /** Releases everything after a failure, of which whoever waits for the machine hears at once. */
  async fail(): Promise<void> {
    await this.#service?.close();
    await this.abandon();
  }

  /** Shuts a detached machine down; any other is its owner's affair. */
  async shutDown(): Promise<VmExit | undefined> {
    return this.#detached ? this.#host?.stop() : undefined;
  }

  async #end(): Promise<void> {
    this.#prepared[Symbol.dispose]();
    await this.#service?.close();
    this.#settle();
  }
}
