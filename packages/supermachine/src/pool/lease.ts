import type { Duplex } from "node:stream";
import type { VsockConnector } from "@supermachine/guest";
import { SupermachineError } from "../errors.js";
import type { RunningMachine } from "../machine/config.js";

/**
 * A machine as one holder sees it: once the lease has ended, every use is refused and every connection is gone, for
 * the machine may be someone else's by then.
 */
export class Lease {
  readonly machine: RunningMachine;
  readonly #over = new AbortController();
  readonly #connections = new Set<Duplex>();

  constructor(machine: RunningMachine) {
    const { signal } = this.#over;
    const guard = <T extends object>(object: T, replaced: Partial<T>): T =>
      new Proxy(object, {
        get: (target, property) => {
          if (property !== "exited") this.assertHeld();
          if (property in replaced) return Reflect.get(replaced, property);
          const value: unknown = Reflect.get(target, property, target);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    const whileHeld = <T extends { readonly signal?: AbortSignal }>(options: T): T => ({
      ...options,
      signal: options.signal === undefined ? signal : AbortSignal.any([signal, options.signal]),
    });
    const { vsock } = machine;
    this.machine = guard(machine, {
      vsock: guard(vsock, { connect: (...request) => this.#connect(vsock, ...request) }),
      logs: (options = {}) => machine.logs(whileHeld(options)),
      events: (options = {}) => machine.events(whileHeld(options)),
    });
  }

  /** @throws {@link SupermachineError} ERR_POOL_RELEASED once the lease has ended. */
  assertHeld(): void {
    if (!this.#over.signal.aborted) return;
    throw new SupermachineError(
      "ERR_POOL_RELEASED",
      "this machine was given back to its pool: acquire another",
    );
  }

  end(): void {
    this.#over.abort();
    for (const connection of this.#connections) connection.destroy();
  }

  async #connect(
    vsock: Pick<VsockConnector, "connect">,
    ...request: Parameters<VsockConnector["connect"]>
  ): Promise<Duplex> {
    const connection = await vsock.connect(...request);
    this.#connections.add(connection);
    connection.once("close", () => this.#connections.delete(connection));
    if (this.#over.signal.aborted) connection.destroy();
    this.assertHeld();
    return connection;
  }
}
