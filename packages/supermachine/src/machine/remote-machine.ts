import type { MachineConfig } from "./config.js";
import { ControlClient } from "./control/client.js";
import type { VmParameters } from "./description.js";
import type { HostOptions } from "./host.js";
import type { MachineStarter, StartedMachine } from "./starter.js";

/** The first message of what runs a machine: where its control socket is. All else goes over that. */
export interface Listening {
  readonly directory: string;
}

/** A process or thread that is there for one machine. */
export interface MachineSite {
  /** Rejects when it ends before. */
  readonly listening: Promise<Listening>;
  /** Settles when it is gone, or given up, with how. Never rejects. */
  readonly ended: Promise<string>;
  /** Lets go of it when its machine is up: it goes on without this process. */
  readonly letGo?: () => void;
  /** Ends the machine and itself, and kills it if that takes too long. Idempotent. */
  end(): void;
  /** Ends it at once, or gives it up where nothing is ended by force. Idempotent. */
  kill(): void;
}

/** A machine that does not run on this thread: this starts it by way of its control socket. */
export class RemoteMachine implements MachineStarter {
  readonly #site: MachineSite;
  #started = false;

  constructor(site: MachineSite) {
    this.#site = site;
    // Whoever starts the machine awaits it; without that, an early failure must not go unhandled.
    site.listening.catch(() => {});
  }

  async start(
    config: MachineConfig,
    vm: VmParameters,
    { signal, onConsole }: HostOptions,
  ): Promise<StartedMachine> {
    const { listening, ended, letGo } = this.#site;
    const abort = () => this[Symbol.dispose]();
    signal?.addEventListener("abort", abort);
    let machine: ControlClient | undefined;
    try {
      signal?.throwIfAborted();
      const { directory } = await listening;
      const site = letGo === undefined ? { site: this.#site } : {};
      machine = await ControlClient.connect(directory, site);
      if (onConsole !== undefined) void passConsole(machine, onConsole);
      const description = await machine.start({ config, vm });
      this.#started = true;
      letGo?.();
      return { machine, description };
    } catch (error) {
      machine?.close();
      this[Symbol.dispose]();
      await ended;
      signal?.throwIfAborted();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Ends what runs no machine; where one was started, that is the affair of the machine. */
  [Symbol.dispose](): void {
    if (!this.#started) this.#site.end();
  }
}

async function passConsole(
  machine: ControlClient,
  onConsole: (bytes: Uint8Array) => void,
): Promise<void> {
  try {
    for await (const { text } of machine.logs({ follow: true, source: "console" })) {
      onConsole(Buffer.from(text));
    }
  } catch {
    // The machine is gone; its end is told elsewhere.
  }
}
