import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ImageStore, Vm, type VmOptions } from "supermachine";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { demoStore } from "./images.js";
import { descendants, eventually } from "./processes.js";

let stores: Awaited<ReturnType<typeof demoStore>>;
let store: ImageStore;
let runtime = "";

beforeAll(async () => {
  stores = await demoStore();
  store = stores.store;
  runtime = await mkdtemp(join(tmpdir(), "supermachine-runtime-"));
});
afterAll(async () => {
  await stores[Symbol.asyncDispose]();
  await rm(runtime, { recursive: true });
});
beforeEach(() => {
  vi.stubEnv("XDG_RUNTIME_DIR", runtime);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  expect(await eventually(() => descendants(process.pid).length === 0, 2000)).toBe(true);
  const machines = await readdir(join(runtime, "supermachine")).catch(() => []);
  expect(machines).toEqual([]);
});

const start = (options: Partial<VmOptions> = {}) =>
  Vm.start({ image: "demo", store, hypervisor, ...options });

describe.each(["process", "thread", "inline"] as const)(
  "a machine that cannot start (%s)",
  (isolation) => {
    test("an unknown image is named, with the ones there are", async () => {
      const started = start({ image: "no-such-image", isolation });
      await expect(started).rejects.toMatchObject({ code: "ERR_OCI_IMAGE_NOT_FOUND" });
      await expect(started).rejects.toThrow("demo");
    });

    test("a directory that does not exist cannot be shared", async () => {
      const mounts = [{ host: "/no/such/directory", guest: "/work" }];
      await expect(start({ mounts, isolation })).rejects.toMatchObject({ code: "ERR_MOUNT" });
    });

    test("a mount asks in vain for DAX under QEMU, and for a window out of range", async () => {
      const mount = { host: runtime, guest: "/work", dax: true };
      const underQemu = start({ mounts: [mount], isolation, hypervisor: "qemu" });
      await expect(underQemu).rejects.toMatchObject({ code: "ERR_DAX_UNAVAILABLE" });
      await expect(underQemu).rejects.toThrow('use dax: "auto"');
      for (const daxWindowMiB of [0, 3, 65_538, Number.NaN]) {
        const mounts = [{ ...mount, dax: "auto" as const, daxWindowMiB }];
        await expect(start({ mounts, isolation })).rejects.toMatchObject({ code: "ERR_OPTION" });
      }
    });

    test("a kernel file that is no kernel is refused", async () => {
      vi.stubEnv("SUPERMACHINE_KERNEL", "/etc/passwd");
      const code = hypervisor === "kvm" ? "ERR_VMM_NOT_A_KERNEL" : "ERR_VM_BOOT_FAILED";
      await expect(start({ isolation })).rejects.toMatchObject({ code });
    });

    test("a guest that panics while it boots shows its last words", async () => {
      // A program that ends at once is no init, and Linux cannot live without one.
      vi.stubEnv("SUPERMACHINE_AGENT", "/bin/true");
      const started = start({ isolation });
      await expect(started).rejects.toMatchObject({ code: "ERR_VM_BOOT_FAILED" });
      await expect(started).rejects.toThrow("Kernel panic - not syncing");
    });

    test("too little memory ends in an error that says so", async () => {
      const started = start({ memoryMiB: 16, isolation, bootTimeoutMs: 60_000 });
      await expect(started).rejects.toThrow(/memory/i);
    });

    test("a guest that is not ready in time is ended", async () => {
      const started = start({ bootTimeoutMs: 50, isolation });
      await expect(started).rejects.toMatchObject({ code: "ERR_VM_BOOT_TIMEOUT" });
    });

    test("an aborted start rejects with the reason given", async () => {
      const reason = new Error("changed my mind");
      const abort = new AbortController();
      setTimeout(() => abort.abort(reason), 100);
      await expect(start({ signal: abort.signal, isolation })).rejects.toBe(reason);
    });

    test("an image whose root disk is damaged says which step failed in the guest", async () => {
      const broken = join(runtime, "broken.erofs");
      await writeFile(broken, Buffer.alloc(1 << 20));
      const proxy = Object.create(store) as ImageStore;
      const { rootfsPath: _, ...demo } = await store.get("demo");
      proxy.get = async () => ({ ...demo, rootfsPath: broken });
      const started = start({ store: proxy, isolation });
      await expect(started).rejects.toMatchObject({ code: "ERR_AGENT_BOOT" });
      await rm(broken);
    });
  },
);
