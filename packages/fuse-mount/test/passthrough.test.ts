import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FsBackend } from "@supermachine/fuse-server";
import { requireFacility } from "@supermachine-internal/testing";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Mount, type MountOptions, mount } from "../src/index.js";
import { shell } from "./shell.js";

type CreateBackend = (data: { root: string; log: SharedArrayBuffer }) => FsBackend;
const { createBackend } = (await import(
  new URL("./backends/host-files.mjs", import.meta.url).href
)) as { createBackend: CreateBackend };

requireFacility("linux", "root", "fuse").describe("a mount with files passed through", () => {
  let root: string;
  let directory: string;
  let mounted: Mount;
  let counts: Int32Array;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "fuse-mount-"));
    directory = mkdtempSync(join(tmpdir(), "fuse-mount-"));
  });
  afterEach(async () => {
    await mounted[Symbol.asyncDispose]();
    rmSync(root, { recursive: true });
    rmSync(directory, { recursive: true });
  });

  async function start(options: MountOptions = {}): Promise<void> {
    const log = new SharedArrayBuffer(8);
    counts = new Int32Array(log);
    mounted = await mount(createBackend({ root, log }), directory, options);
  }
  const sh = (script: string) => shell(script, directory);

  it("reads and writes files without asking the backend", async () => {
    await start();
    const out = await sh(`
      head -c 3000000 /dev/urandom > a
      cp a b && cmp a b
      dd if=/dev/zero of=a bs=1000 seek=500 count=1 conv=notrunc status=none
      (cmp a b || true) | cut -d, -f1
      cat /etc/passwd > c; echo more >> c; tail -n1 c; truncate -s 10 c; wc -c < c
      echo over > c; cat c`);
    expect(out.trim().split("\n")).toEqual(["a b differ: char 500001", "more", "10", "over"]);
    expect([...counts]).toEqual([0, 0]);
    expect(readFileSync(join(root, "c"), "utf8")).toBe("over\n");
  });

  it("shows at once what the host writes to an open file, and the other way round", async () => {
    await start();
    writeFileSync(join(root, "f"), "first");
    await sh(`
      exec 3<f; cat <&3; exec 4<>f
      echo second > ${root}/f; [ "$(cat f)" = second ]
      echo third >&4; [ "$(cat ${root}/f)" = third ]`);
    expect([...counts]).toEqual([0, 0]);
  });

  it("maps files, shared and private", async () => {
    await start();
    const out = await sh(`
      head -c 100000 /dev/zero > m
      python3 - m <<'PYTHON'
import mmap, sys
with open(sys.argv[1], "r+b") as f:
    shared = mmap.mmap(f.fileno(), 0)
    private = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_COPY)
    shared[70000:70005] = b"hello"
    private[10:13] = b"not"
    shared.flush()
    f.seek(70000)
    print(f.read(5).decode(), private[70000:70005].decode(), shared[10])
PYTHON
      dd if=m bs=5 skip=14000 count=1 status=none`);
    expect(out).toBe("hello hello 0\nhello");
    expect([...counts]).toEqual([0, 0]);
  });

  it("serves a file that is open twice, as reader and as writer, even once it is gone", async () => {
    await start();
    const out = await sh(`
      echo one > f; exec 3<f 4>>f; rm f; echo two >&4; cat <&3; echo new > f; cat f`);
    expect(out).toBe("one\ntwo\nnew\n");
    expect([...counts]).toEqual([0, 0]);
  });

  it("asks the backend when told to, and with a writeback cache", async () => {
    await start({ passthrough: false });
    await sh("echo x > f; cat f");
    expect(counts[1]).toBeGreaterThan(0);
    await mounted.unmount();
    await start({ writebackCache: true });
    await sh("echo x > f; sync f; cat f");
    expect(counts[1]).toBeGreaterThan(0);
  });

  it("asks the backend for files that the kernel does not pass through", async () => {
    // An overlay counts as stacked already.
    const lower = mkdtempSync(join(tmpdir(), "fuse-mount-"));
    await shell(
      `mount -t tmpfs none ${lower}; cd ${lower}; mkdir l u w
       mount -t overlay -o lowerdir=l,upperdir=u,workdir=w none ${root}`,
      "/",
    );
    try {
      await start();
      expect(await sh("echo x > f; cat f; echo y >> f; cat f")).toBe("x\nx\ny\n");
      expect(counts[0]).toBeGreaterThan(0);
      expect(counts[1]).toBeGreaterThan(0);
      await mounted.unmount();
    } finally {
      await shell(`umount ${root} ${lower}; rmdir ${lower}`, "/");
    }
  });
});
