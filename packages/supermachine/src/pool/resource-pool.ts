import { SupermachineError } from "../errors.js";

/** Where the members of a {@link ResourcePool} come from, and how they end. */
export interface PoolSource<T> {
  /** Makes a member. The signal is aborted when the pool closes. */
  create(signal: AbortSignal): Promise<T>;
  /** Makes a used member as new. One for which this rejects, or answers false, is destroyed. */
  recycle(member: T): Promise<boolean>;
  /** Ends a member and waits until what it held is free. */
  destroy(member: T): Promise<void>;
  /** Settles when a member has ended by itself. */
  ended(member: T): Promise<unknown>;
}

/** How large a pool is, and how long it waits. */
export interface PoolLimits {
  /** Members that are kept ready for the next to come, as far as `max` allows. */
  readonly min: number;
  /** Most members that exist at a time: ready, in use, starting or ending. At least 1. */
  readonly max: number;
  /** Milliseconds after which a ready member beyond `min` is ended. */
  readonly idleTimeoutMs: number;
  /** Milliseconds that `acquire` waits for a member. */
  readonly acquireTimeoutMs: number;
}

/** A pool at one moment. */
export interface PoolStats {
  /** All members: ready, in use, starting, being made as new, and ending. */
  readonly alive: number;
  /** Members that can be had at once. */
  readonly idle: number;
  readonly inUse: number;
  /** Members that are being made, from nothing or from a used one. */
  readonly starting: number;
  /** Callers of `acquire` that wait. */
  readonly waiting: number;
  readonly min: number;
  readonly max: number;
  /** Since the pool was made: members given out, and members that could not be made. */
  readonly acquired: number;
  readonly failed: number;
}

/** What a caller that waits for a member gives. */
export interface AcquireOptions {
  /** Instead of the pool's `acquireTimeoutMs`. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

interface Waiter<T> {
  give(member: T): void;
  refuse(error: unknown): void;
}

interface IdleMember<T> {
  readonly member: T;
  readonly since: number;
}

/** After a failed start with nobody waiting, the next try comes this much later, then twice that... */
const RETRY_MS = 250;
const MAX_RETRY_MS = 30_000;

/**
 * Members made ahead of need and handed out first come, first served. It knows nothing of machines: a
 * member is whatever the source makes.
 */
export class ResourcePool<T> implements AsyncDisposable {
  readonly #source: PoolSource<T>;
  readonly #limits: PoolLimits;
  /** Least recently used first: handed out from the end, expired from the start. */
  #idle: IdleMember<T>[] = [];
  readonly #leased = new Set<T>();
  readonly #waiters = new Set<Waiter<T>>();
  readonly #work = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #starting = 0;
  #ending = 0;
  #acquired = 0;
  #failed = 0;
  #retryMs = RETRY_MS;
  #retryTimer: NodeJS.Timeout | undefined;
  #expiryTimer: NodeJS.Timeout | undefined;

  /** Starts to make `limits.min` members. */
  constructor(source: PoolSource<T>, limits: PoolLimits) {
    this.#source = source;
    this.#limits = limits;
    this.#balance();
  }

  get stats(): PoolStats {
    const { min, max } = this.#limits;
    return {
      alive: this.#alive,
      idle: this.#idle.length,
      inUse: this.#leased.size,
      starting: this.#starting,
      waiting: this.#waiters.size,
      min,
      max,
      acquired: this.#acquired,
      failed: this.#failed,
    };
  }

  /**
   * A member for this caller alone; give it back with {@link release}. Those who wait are served in order.
   *
   * @throws SupermachineError ERR_POOL_TIMEOUT, ERR_POOL_CLOSED; the signal's reason; or why a member
   *   could not be made.
   */
  acquire(options: AcquireOptions = {}): Promise<T> {
    const { timeoutMs = this.#limits.acquireTimeoutMs, signal } = options;
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#closing.signal.aborted) throw closed();
      const settle = (end: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", onAbort);
        this.#waiters.delete(waiter);
        end();
      };
      const waiter: Waiter<T> = {
        give: (member) => settle(() => resolve(member)),
        refuse: (error) => settle(() => reject(error)),
      };
      const onAbort = () => waiter.refuse(signal?.reason);
      const timer = setTimeout(() => waiter.refuse(this.#timedOut(timeoutMs)), timeoutMs);
      signal?.addEventListener("abort", onAbort);
      this.#waiters.add(waiter);
      this.#balance();
    });
  }

  /** Gives a member back. Resolves when it is ready for the next, or gone. */
  async release(member: T): Promise<void> {
    if (!this.#leased.delete(member)) return;
    if (this.#closing.signal.aborted) return this.#end(member);
    this.#starting++;
    await this.#track(
      this.#source.recycle(member).catch(() => false),
      async (asNew) => {
        this.#starting--;
        if (asNew && !this.#closing.signal.aborted) this.#ready(member);
        else await this.#end(member);
      },
    );
  }

  /** Refuses whoever waits and ends every member, also those in use. Idempotent. */
  async close(): Promise<void> {
    this.#closing.abort(closed());
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#expiryTimer);
    for (const waiter of this.#waiters) waiter.refuse(closed());
    const members = [...this.#idle.map(({ member }) => member), ...this.#leased];
    this.#idle = [];
    this.#leased.clear();
    for (const member of members) void this.#end(member);
    while (this.#work.size > 0) await Promise.all(this.#work);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #alive(): number {
    return this.#idle.length + this.#leased.size + this.#starting + this.#ending;
  }

  /** Serves who waits, makes what is missing, and lets go of what is too much. */
  #balance(): void {
    for (const waiter of this.#waiters) {
      const next = this.#idle.pop();
      if (next === undefined) break;
      this.#leased.add(next.member);
      this.#acquired++;
      waiter.give(next.member);
    }
    if (this.#closing.signal.aborted) return;
    const { min, max } = this.#limits;
    // A source that fails is not asked again for the store before the pause is over, for callers it is.
    const ahead = this.#retryTimer === undefined ? min - this.#idle.length : 0;
    let missing = this.#waiters.size + ahead - this.#starting;
    for (; missing > 0 && this.#alive < max; missing--) this.#start();
    this.#expireLater();
  }

  #start(): void {
    this.#starting++;
    const created = this.#source.create(this.#closing.signal).then(
      (member) => () => {
        this.#retryMs = RETRY_MS;
        if (this.#closing.signal.aborted) return this.#end(member);
        void this.#source.ended(member).then(() => this.#onEnded(member));
        this.#ready(member);
      },
      (error: unknown) => () => this.#onFailure(error),
    );
    void this.#track(created, async (next) => {
      this.#starting--;
      await next();
    });
  }

  #ready(member: T): void {
    this.#idle.push({ member, since: performance.now() });
    this.#balance();
  }

  /** Each failed start is the answer to one caller; with none, the store is filled later. */
  #onFailure(error: unknown): void {
    if (this.#closing.signal.aborted) return;
    this.#failed++;
    const [oldest] = this.#waiters;
    if (oldest !== undefined && this.#waiters.size > this.#starting) oldest.refuse(error);
    if (this.#retryTimer === undefined) {
      this.#retryTimer = setTimeout(() => {
        this.#retryTimer = undefined;
        this.#balance();
      }, this.#retryMs);
      this.#retryTimer.unref();
      this.#retryMs = Math.min(2 * this.#retryMs, MAX_RETRY_MS);
    }
    this.#balance();
  }

  /** A member that ends while it is ready is replaced; one in use is its holder's concern. */
  #onEnded(member: T): void {
    const at = this.#idle.findIndex((idle) => idle.member === member);
    if (at === -1) return;
    this.#idle.splice(at, 1);
    void this.#end(member);
  }

  async #end(member: T): Promise<void> {
    this.#ending++;
    await this.#track(
      this.#source.destroy(member).catch(() => {}),
      async () => {
        this.#ending--;
        this.#balance();
      },
    );
  }

  #expireLater(): void {
    clearTimeout(this.#expiryTimer);
    const oldest = this.#idle[0];
    if (oldest === undefined || this.#idle.length <= this.#limits.min) return;
    const delay = oldest.since + this.#limits.idleTimeoutMs - performance.now();
    this.#expiryTimer = setTimeout(() => {
      // Another member may be the oldest by now, and then has time left.
      if (this.#idle[0] === oldest) {
        this.#idle.shift();
        void this.#end(oldest.member);
      }
      this.#expireLater();
    }, delay);
    this.#expiryTimer.unref();
  }

  /** Work that {@link close} waits for. */
  #track<V>(work: Promise<V>, after: (value: V) => Promise<void>): Promise<void> {
    const done = work.then(after).finally(() => this.#work.delete(done));
    this.#work.add(done);
    return done;
  }

  #timedOut(timeoutMs: number): SupermachineError {
    const { alive, inUse, starting, waiting, max } = this.stats;
    return new SupermachineError(
      "ERR_POOL_TIMEOUT",
      `no machine of the pool was free within ${timeoutMs} ms: ${inUse} of ${alive} in use, ${starting} starting, ${waiting} callers waiting, at most ${max} at a time`,
    );
  }
}

function closed(): SupermachineError {
  return new SupermachineError("ERR_POOL_CLOSED", "the pool is closed");
}
