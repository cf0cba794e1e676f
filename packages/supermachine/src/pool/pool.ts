import { SupermachineError } from "../errors.js";
import type { ChainOptions, ExecOptions, SpawnOptions } from "../exec.js";
import type { ExecResult } from "../exec-result.js";
import type { StartedMachine } from "../machine/starter.js";
import { traced } from "../tracing.js";
import { Vm } from "../vm.js";
import type { VmProcess } from "../vm-process.js";
import { Lease } from "./lease.js";
import { type AcquireOptions, type PoolStats, ResourcePool } from "./resource-pool.js";

/** Options of a pool of machines. */
export interface PoolOptions {
  /** Machines that are kept ready for the next to come, as far as `max` allows. Default 0. */
  readonly min?: number;
  /** Most machines that exist at a time, in use or not. Default 4, or `min` if that is more. */
  readonly max?: number;
  /** Milliseconds after which a ready machine beyond `min` is ended. Default 60,000. */
  readonly idleTimeoutMs?: number;
  /** Milliseconds that `acquire` waits at most. Default 30,000. */
  readonly acquireTimeoutMs?: number;
  /**
   * Whether a machine that is given back is made what it was when it was new before the next has it.
   * Default true. With false the next finds what the last left: files, processes and caches.
   */
  readonly restoreOnRelease?: boolean;
}

/** A machine that belongs to a pool, for one holder. Give it back with {@link release} or `await using`. */
export class PooledVm extends Vm {
  readonly #lease: Lease;
  readonly #giveBack: () => void;

  /** Use {@link Pool.acquire}. */
  constructor(started: StartedMachine, lease: Lease, giveBack: () => void) {
    super({ ...started, machine: lease.machine });
    this.#lease = lease;
    this.#giveBack = giveBack;
  }

  override spawn(argv: readonly string[], options?: SpawnOptions): VmProcess {
    this.#lease.assertHeld();
    return super.spawn(argv, options);
  }

  override async exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult> {
    this.#lease.assertHeld();
    return super.exec(argv, options);
  }

  override async chain(
    commands: readonly (readonly string[])[],
    options?: ChainOptions,
  ): Promise<ExecResult[]> {
    this.#lease.assertHeld();
    return super.chain(commands, options);
  }

  /** Gives the machine back; it cannot be used any more. Does not wait until it is as new. Idempotent. */
  release(): void {
    this.#lease.end();
    this.#giveBack();
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.release();
  }
}

/** What a pool's machines are and how they begin. */
export interface PoolSource {
  /** Starts one more. */
  start(signal: AbortSignal): Promise<StartedMachine>;
  /** Makes a used machine what it was when it was new; absent where only a new one is. */
  revert?(machine: StartedMachine): Promise<void>;
}

/** Machines of one kind, ready before they are needed. */
export class Pool implements AsyncDisposable {
  readonly #machines: ResourcePool<StartedMachine>;

  /** Use `image.pool()`. Starts `min` machines. */
  constructor(source: PoolSource, options: PoolOptions = {}) {
    const { min = 0, max = Math.max(4, min), restoreOnRelease = true } = options;
    checkWhole("min", min, 0);
    checkWhole("max", max, Math.max(1, min));
    this.#machines = new ResourcePool(
      {
        create: (signal) => source.start(signal),
        recycle: async (started) => {
          if ((await started.machine.status()) === "stopped") return false;
          if (!restoreOnRelease) return true;
          await source.revert?.(started);
          return source.revert !== undefined;
        },
        destroy: async ({ machine }) => {
          await machine.kill();
        },
        ended: ({ machine }) => machine.exited,
      },
      {
        min,
        max,
        idleTimeoutMs: options.idleTimeoutMs ?? 60_000,
        acquireTimeoutMs: options.acquireTimeoutMs ?? 30_000,
      },
    );
  }

  /**
   * A machine for this caller alone. Those who wait are served in order.
   *
   * @throws {@link SupermachineError} ERR_POOL_TIMEOUT, ERR_POOL_CLOSED; the signal's reason; and, if a
   *   machine cannot be started, why.
   */
  async acquire(options: AcquireOptions = {}): Promise<PooledVm> {
    return traced("supermachine.acquire", {}, async () => {
      const started = await this.#machines.acquire(options);
      // What becomes of it is the pool's business: whoever gives back does not wait for that.
      const giveBack = () => void this.#machines.release(started);
      return new PooledVm(started, new Lease(started.machine), giveBack);
    });
  }

  /** Does `work` with a machine and gives it back however that ends. */
  async use<T>(work: (vm: PooledVm) => Promise<T>, options: AcquireOptions = {}): Promise<T> {
    await using vm = await this.acquire(options);
    return await work(vm);
  }

  stats(): PoolStats {
    return this.#machines.stats;
  }

  /** Refuses whoever waits and ends every machine, also those in use. Idempotent. */
  async close(): Promise<void> {
    await this.#machines.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function checkWhole(option: string, value: number, least: number): void {
  if (Number.isInteger(value) && value >= least) return;
  throw new SupermachineError(
    "ERR_OPTION",
    `${option} is ${value}: give a whole number of ${least} or more`,
  );
}
