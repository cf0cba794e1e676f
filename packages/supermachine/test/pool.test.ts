import { Image, type ImageStore, type Pool, SupermachineError } from "supermachine";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { demoStore } from "./images.js";
import { descendants, eventually } from "./processes.js";

let stores: Awaited<ReturnType<typeof demoStore>>;
let store: ImageStore;
let image: Image;

beforeAll(async () => {
  stores = await demoStore();
  store = stores.store;
  image = await Image.open("demo", store);
});
afterAll(() => stores[Symbol.asyncDispose]());

async function idle(pool: Pool, count: number): Promise<void> {
  expect(await eventually(() => pool.stats().idle === count, 60_000)).toBe(true);
}

describe(`a pool of machines on ${hypervisor}`, () => {
  test("gives each caller a machine as new, and ends all with itself", async () => {
    const before = descendants(process.pid).length;
    {
      await using pool = image.pool({ hypervisor, min: 1, max: 2 });
      await idle(pool, 1);
      const write = (text: string) =>
        pool.use(async (vm) => {
          const { stdout } = await vm.exec(["sh", "-c", `cat /tmp/note; echo ${text} >/tmp/note`]);
          return stdout;
        });
      expect(await write("first")).toBe("");
      expect(await write("second")).toBe("");
      expect(pool.stats()).toMatchObject({ inUse: 0, waiting: 0, acquired: 2, failed: 0 });
    }
    expect(await eventually(() => descendants(process.pid).length === before, 5_000)).toBe(true);
  });

  test("gives the same machine on if it is not to be restored, and refuses its last holder", async () => {
    await using pool = image.pool({ hypervisor, max: 1, restoreOnRelease: false });
    const first = await pool.acquire();
    await first.exec(["sh", "-c", "echo left >/tmp/note"]);
    const endless = first.exec(["sleep", "1000"]);
    const followed = (async () => {
      for await (const _ of first.logs({ follow: true }));
      return "ended";
    })();
    first.release();
    await expect(endless).rejects.toThrow();
    expect(await followed).toBe("ended");
    await using second = await pool.acquire();
    expect((await second.exec(["cat", "/tmp/note"])).stdout).toBe("left\n");
    await expect(first.exec(["true"])).rejects.toMatchObject({ code: "ERR_POOL_RELEASED" });
    await expect(first.stop()).rejects.toMatchObject({ code: "ERR_POOL_RELEASED" });
    expect((await second.health()).answering).toBe(true);
  });

  test("replaces a machine that its holder has ended", async () => {
    await using pool = image.pool({ hypervisor, max: 1, restoreOnRelease: false });
    await pool.use((vm) => vm.kill());
    expect(await pool.use((vm) => vm.exec(["echo", "alive"]))).toMatchObject({ stdout: "alive\n" });
  });

  test("refuses sizes that make no sense", () => {
    expect(() => image.pool({ min: -1 })).toThrow(SupermachineError);
    expect(() => image.pool({ min: 3, max: 2 })).toThrow("give a whole number of 3 or more");
  });
});

test.runIf(hypervisor === "qemu")("baking says that QEMU's machines are not saved", async () => {
  await expect(image.bake({ hypervisor })).rejects.toMatchObject({
    code: "ERR_SNAPSHOT_UNSUPPORTED",
  });
});
