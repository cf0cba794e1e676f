import { SupermachineError } from "../errors.js";
import type { RunningMachine } from "../machine/config.js";

/**
 * A machine as one holder sees it: once the lease has ended, every use is refused, for the machine may be
 * someone else's by then.
 */
export class Lease {
  readonly machine: RunningMachine;
  #ended = false;

  constructor(machine: RunningMachine) {
    const guard = <T extends object>(object: T, replaced: Partial<T> = {}): T =>
      new Proxy(object, {
        get: (target, property) => {
          if (property !== "exited") this.assertHeld();
          if (property in replaced) return Reflect.get(replaced, property);
          const value: unknown = Reflect.get(target, property, target);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    this.machine = guard(machine, { vsock: guard(machine.vsock) });
  }

  /** @throws {@link SupermachineError} ERR_POOL_RELEASED once the lease has ended. */
  assertHeld(): void {
    if (!this.#ended) return;
    throw new SupermachineError(
      "ERR_POOL_RELEASED",
      "this machine was given back to its pool: acquire another",
    );
  }

  end(): void {
    this.#ended = true;
  }
}
