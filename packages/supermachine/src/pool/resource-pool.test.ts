import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { type PoolLimits, type PoolSource, ResourcePool } from "./resource-pool.js";

/** Members are processes: they take time to start, end by themselves, and leave something to count. */
class Processes implements PoolSource<ChildProcess> {
  readonly running = new Set<ChildProcess>();
  made = 0;
  most = 0;
  recycled = 0;
  failing = false;
  recyclable = true;

  async create(): Promise<ChildProcess> {
    if (this.failing) throw new Error("no process to be had");
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    this.running.add(child);
    child.once("exit", () => this.running.delete(child));
    this.most = Math.max(this.most, this.running.size);
    await once(child, "spawn");
    this.made++;
    return child;
  }

  async recycle(): Promise<boolean> {
    this.recycled++;
    await delay(1);
    return this.recyclable;
  }

  async destroy(child: ChildProcess): Promise<void> {
    if (!this.running.has(child)) return;
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }

  ended(child: ChildProcess): Promise<unknown> {
    return once(child, "exit");
  }
}

const LIMITS: PoolLimits = { min: 0, max: 3, idleTimeoutMs: 60_000, acquireTimeoutMs: 5_000 };

async function until(condition: () => boolean): Promise<void> {
  for (let waited = 0; !condition(); waited += 5) {
    if (waited > 5_000) throw new Error("the condition did not come about");
    await delay(5);
  }
}

describe("a pool", () => {
  it("makes its minimum ahead, and what is taken anew", async () => {
    const source = new Processes();
    await using pool = new ResourcePool(source, { ...LIMITS, min: 2 });
    await until(() => pool.stats.idle === 2);
    expect(pool.stats).toMatchObject({ alive: 2, inUse: 0, min: 2, max: 3 });
    await pool.acquire();
    await until(() => pool.stats.idle === 2);
    expect(pool.stats).toMatchObject({ alive: 3, inUse: 1 });
    await pool.acquire();
    await delay(30);
    expect(pool.stats).toMatchObject({ alive: 3, inUse: 2, idle: 1 });
  });

  it("never has more than its maximum, however many ask, and serves them in order", async () => {
    const source = new Processes();
    await using pool = new ResourcePool(source, LIMITS);
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        const member = await pool.acquire();
        order.push(index);
        await delay(Math.random() * 4);
        await pool.release(member);
      }),
    );
    expect(source.most).toBe(3);
    expect(source.made).toBe(3);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(pool.stats).toMatchObject({ idle: 3, inUse: 0, waiting: 0, acquired: 40 });
  });

  it("ends a member that cannot be made as new, and makes another", async () => {
    const source = new Processes();
    source.recyclable = false;
    await using pool = new ResourcePool(source, { ...LIMITS, max: 1 });
    const first = await pool.acquire();
    const next = pool.acquire();
    await pool.release(first);
    expect(await next).not.toBe(first);
    expect(source.most).toBe(1);
  });

  it("replaces a member that ends while it is ready", async () => {
    const source = new Processes();
    await using pool = new ResourcePool(source, { ...LIMITS, min: 1 });
    await until(() => pool.stats.idle === 1);
    const [member] = source.running;
    member?.kill("SIGKILL");
    await until(() => source.made === 2 && pool.stats.idle === 1);
    expect(await pool.acquire()).not.toBe(member);
  });

  it("ends members beyond the minimum that nobody wants for a while", async () => {
    const source = new Processes();
    await using pool = new ResourcePool(source, { ...LIMITS, min: 1, idleTimeoutMs: 40 });
    const members = await Promise.all([pool.acquire(), pool.acquire(), pool.acquire()]);
    await Promise.all(members.map((member) => pool.release(member)));
    await until(() => source.running.size === 1);
    await delay(80);
    expect(pool.stats).toMatchObject({ alive: 1, idle: 1 });
  });

  it("tells who waits too long, and forgets who gives up", async () => {
    await using pool = new ResourcePool(new Processes(), { ...LIMITS, max: 1 });
    const member = await pool.acquire();
    await expect(pool.acquire({ timeoutMs: 20 })).rejects.toMatchObject({
      code: "ERR_POOL_TIMEOUT",
      message: expect.stringContaining("1 of 1 in use"),
    });
    const reason = new Error("changed my mind");
    await expect(pool.acquire({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const given = pool.acquire({ signal: controller.signal });
    controller.abort(reason);
    await expect(given).rejects.toBe(reason);
    expect(pool.stats.waiting).toBe(0);
    await pool.release(member);
    expect(pool.stats.idle).toBe(1);
  });

  it("hands a failed start to one caller, and fills its store again once that is possible", async () => {
    const source = new Processes();
    source.failing = true;
    await using pool = new ResourcePool(source, { ...LIMITS, min: 1 });
    await expect(pool.acquire()).rejects.toThrow("no process to be had");
    expect(pool.stats.failed).toBeGreaterThan(0);
    source.failing = false;
    await until(() => pool.stats.idle === 1);
  });

  it("asks a source that fails for ever less and less often, and answers each caller with why", async () => {
    const source = new Processes();
    source.failing = true;
    await using pool = new ResourcePool(source, { ...LIMITS, min: 2 });
    await delay(1000);
    // Two at once, then again after 250 and 750 ms.
    expect(pool.stats.failed).toBeGreaterThanOrEqual(2);
    expect(pool.stats.failed).toBeLessThanOrEqual(6);
    const failed = { message: "no process to be had" };
    const callers = Array.from({ length: 10 }, () =>
      expect(pool.acquire()).rejects.toMatchObject(failed),
    );
    await Promise.all(callers);
    expect(pool.stats).toMatchObject({ alive: 0, waiting: 0, acquired: 0 });
  });

  it("ends everything when it closes, also what is in use, and refuses who waits", async () => {
    const source = new Processes();
    const pool = new ResourcePool(source, { ...LIMITS, min: 1, max: 2 });
    const held = await pool.acquire();
    await pool.acquire();
    const refused = expect(pool.acquire()).rejects.toMatchObject({ code: "ERR_POOL_CLOSED" });
    await pool.close();
    await refused;
    expect(source.running.size).toBe(0);
    expect(pool.stats).toMatchObject({ alive: 0, idle: 0, inUse: 0 });
    await pool.release(held);
    await expect(pool.acquire()).rejects.toMatchObject({ code: "ERR_POOL_CLOSED" });
  });

  it("ends a member whose start was under way when it closed", async () => {
    const source = new Processes();
    const pool = new ResourcePool(source, { ...LIMITS, min: 3 });
    await pool.close();
    expect(source.running.size).toBe(0);
  });
});
