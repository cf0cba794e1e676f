import { execFile, execFileSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import {
  type Facility,
  kernelSwitch,
  openDescriptors,
  requireFacility,
} from "@supermachine-internal/testing";
import { afterEach, beforeEach, expect, it } from "vitest";
import type * as api from "../src/index.js";
import { shell } from "./shell.js";

const hostFiles = new URL("./backends/host-files.mjs", import.meta.url);
const misbehaving = new URL("./backends/misbehaving.mjs", import.meta.url);

// Threads of Node.js 20 run no TypeScript, so these tests need the built packages.
const dist = join(import.meta.dirname, "..", "dist", "index.js");
const built = ["fuse-mount", "fuse-server", "fuse-protocol"].map(
  (name): Facility => `file:${join(import.meta.dirname, "..", "..", name, "dist", "index.js")}`,
);

const parameter = "/sys/module/fuse/parameters/enable_uring";

/** Mounts that exist do not mind. */
const enableUring = (value = "Y") => kernelSwitch(parameter, value);

requireFacility("linux", "root", "fuse", ...built).describe("a mount served by threads", () => {
  let mountModule: typeof api.mountModule;
  let root: string;
  let directory: string;
  let mounted: api.Mount | undefined;

  beforeEach(async () => {
    ({ mountModule } = (await import(pathToFileURL(dist).href)) as typeof api);
    root = mkdtempSync(join(tmpdir(), "fuse-mount-"));
    directory = mkdtempSync(join(tmpdir(), "fuse-mount-"));
  });
  afterEach(async () => {
    await mounted?.[Symbol.asyncDispose]();
    mounted = undefined;
    rmSync(root, { recursive: true });
    rmSync(directory, { recursive: true });
  });

  const start = async (options: api.ModuleMountOptions, data: object = {}) => {
    mounted = await mountModule({ module: hostFiles, data: { root, ...data } }, directory, options);
    return mounted;
  };

  it("can be used by the process that made it, as any other", async () => {
    await start({ threads: 2 });
    writeFileSync(join(directory, "file"), "content");
    expect(readFileSync(join(root, "file"), "utf8")).toBe("content");
    expect(readFileSync(join(directory, "file"), "utf8")).toBe("content");
    expect(execFileSync("cat", ["file"], { cwd: directory, encoding: "utf8" })).toBe("content");
    expect(readdirSync(directory)).toEqual(["file"]);
  });

  it.each([true, false])(
    "serves many users at once, from several threads (passthrough: %s)",
    async (passthrough) => {
      const log = new SharedArrayBuffer(8);
      await start({ threads: 3 }, { passthrough, log });
      const out = await shell(
        `head -c 300000 /dev/urandom > all; echo >> all
         for i in $(seq 8); do
           ( for j in $(seq 5); do cp all c$i.$j; cmp all c$i.$j; echo $i >> c$i.$j; done ) &
         done
         wait; tail -qn1 c* | sort | uniq -c | tr -s ' ' | tr '\\n' ';'; rm c*; ls`,
        directory,
      );
      expect(out).toBe(" 5 1; 5 2; 5 3; 5 4; 5 5; 5 6; 5 7; 5 8;all\n");
      const requests = [...new Int32Array(log)];
      if (passthrough) expect(requests).toEqual([0, 0]);
      else expect(Math.min(...requests)).toBeGreaterThan(0);
    },
  );

  it.each([1, 3])("takes requests through io_uring, with %d threads", async (threads) => {
    using _enabled = await enableUring();
    const log = new SharedArrayBuffer(8);
    await start({ threads, ioUring: true }, { passthrough: false, log });
    const out = await shell(
      `head -c 3000000 /dev/urandom > a; for i in $(seq 6); do (cp a c$i; cmp a c$i && echo same) & done; wait
       cat a c* | wc -c; rm c*; ls; (stat none 2>&1 || true) | grep -o "No such file"`,
      directory,
    );
    expect(out).toBe(`${"same\n".repeat(6)}21000000\na\nNo such file\n`);
    const ring = await shell(`ls -l /proc/${process.pid}/fd | grep -c io_uring || true`, "/");
    expect(Number(ring)).toBe(Math.min(threads, cpus().length));
    expect(Math.min(...new Int32Array(log))).toBeGreaterThan(0);
  });

  it("waits for asynchronous backends with io_uring, too, and ends when one hangs", async () => {
    using _enabled = await enableUring();
    mounted = await mountModule({ module: misbehaving }, directory, { ioUring: true });
    expect(await shell("stat -c %i later & stat -c %i later; wait", directory)).toBe("2\n2\n");
    const asking = shell("stat stuck", directory);
    asking.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(await shell("stat -c %i later", directory)).toBe("2\n");
    const started = Date.now();
    await mounted[Symbol.asyncDispose]();
    expect(Date.now() - started).toBeLessThan(4000);
    await expect(asking).rejects.toThrow(/connection abort|not connected|No such device/i);
  });

  it("does without io_uring where the kernel does not offer it", async () => {
    using _disabled = await enableUring("N");
    await start({ ioUring: true });
    expect(await shell("echo x > f; cat f", directory)).toBe("x\n");
  });

  it("tells the kernel what changed from the thread that mounted", async () => {
    const { notifier } = await start({
      threads: 2,
      entryValidMs: Number.POSITIVE_INFINITY,
      attrValidMs: Number.POSITIVE_INFINITY,
      passthrough: false,
    });
    writeFileSync(join(root, "f"), "1");
    expect(statSync(join(directory, "f")).size).toBe(1);
    const { ino } = statSync(join(root, "f"));
    writeFileSync(join(root, "f"), "12345");
    expect(statSync(join(directory, "f")).size).toBe(1);
    await notifier.invalidateInode(ino);
    expect(statSync(join(directory, "f")).size).toBe(5);
  });

  it("lets asynchronous backends make progress, and waits in between", async () => {
    mounted = await mountModule({ module: misbehaving }, directory);
    for (let i = 0; i < 3; i++) {
      expect(await shell("stat -c %i later & stat -c %i later; wait", directory)).toBe("2\n2\n");
      expect(existsSync(join(directory, "absent"))).toBe(false);
    }
  });

  it.each([1, 4])(
    "lets waiting requests be interrupted, whichever of %d threads hears of it",
    async (threads) => {
      mounted = await mountModule({ module: misbehaving }, directory, { threads });
      for (let i = 0; i < 5; i++) {
        const started = Date.now();
        await shell("timeout -s INT 0.1 stat patient || true", directory);
        expect(Date.now() - started).toBeLessThan(3000);
      }
    },
  );

  it("ends when someone else unmounts it, or lazily while in use, and leaves nothing open", async () => {
    await (await start({ threads: 2 })).unmount();
    const before = openDescriptors().length;
    const first = await start({ threads: 2 });
    execFileSync("umount", [directory]);
    await first.closed;
    const second = await start({ threads: 2 });
    const holder = execFile("bash", ["-c", `cd ${directory} && exec sleep 60`]);
    try {
      await shell(
        `until [ "$(readlink /proc/${holder.pid}/cwd)" = "$PWD" ]; do sleep 0.1; done`,
        directory,
      );
      await expect(second.unmount()).rejects.toMatchObject({ code: "ERR_FUSE_MOUNT_BUSY" });
      await second.unmount({ lazy: true });
      await second.closed;
    } finally {
      holder.kill();
    }
    expect(openDescriptors().length).toBeLessThanOrEqual(before + 3);
  });

  it.each(["stuck", "loop"])("ends although its backend is %s", async (name) => {
    mounted = await mountModule({ module: misbehaving }, directory, { threads: 2 });
    const asking = shell(`stat ${name}`, directory);
    asking.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 200));
    const started = Date.now();
    await mounted[Symbol.asyncDispose]();
    expect(Date.now() - started).toBeLessThan(4000);
    await expect(asking).rejects.toThrow(/connection abort|not connected|No such device/i);
  });

  it.each([false, true])(
    "ends although its backend loops beside another request (ioUring: %s)",
    async (ioUring) => {
      using _enabled = await enableUring();
      mounted = await mountModule({ module: misbehaving }, directory, { ioUring });
      const asking = shell("stat stuck & sleep 0.2; stat loop & wait", directory);
      asking.catch(() => {});
      await new Promise((resolve) => setTimeout(resolve, 500));
      const started = Date.now();
      await mounted[Symbol.asyncDispose]();
      expect(Date.now() - started).toBeLessThan(6000);
      await asking.catch(() => {});
    },
  );

  it("ends with an error when a thread dies, and programs get errors instead of waiting", async () => {
    mounted = await mountModule({ module: misbehaving }, directory, { threads: 2 });
    await shell("stat crash || true", directory);
    await expect(mounted.closed).rejects.toThrow(/has ended/);
  });

  it("says what is wrong with a module, and mounts nothing", async () => {
    const code = { code: "ERR_FUSE_MOUNT_MODULE" };
    const broken = mountModule({ module: misbehaving, data: { broken: true } }, directory);
    await expect(broken).rejects.toMatchObject({ ...code, cause: { message: "no such database" } });
    await expect(mountModule({ module: "node:path" }, directory)).rejects.toMatchObject(code);
    await expect(
      mountModule({ module: hostFiles }, directory, { threads: 0 }),
    ).rejects.toMatchObject({ code: "ERR_FUSE_MOUNT_OPTION" });
    expect(await shell(`mountpoint ${directory} || true`, "/")).toMatch(/is not a mountpoint/);
  });
});
