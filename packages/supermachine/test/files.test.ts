import { execFileSync } from "node:child_process";
import { chmodSync, linkSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stdout } from "node:process";
import { TemporaryDirectory } from "@supermachine-internal/testing";
import { type FileChange, Vm } from "supermachine";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { hypervisor } from "./hypervisor.js";
import { demoStore } from "./images.js";

let stores: Awaited<ReturnType<typeof demoStore>>;
let vm: Vm;
let temporary: TemporaryDirectory;
let directory: string;

beforeAll(async () => {
  stores = await demoStore();
  vm = await Vm.start({ image: "demo", store: stores.store, hypervisor, memoryMiB: 512 });
});
afterAll(async () => {
  await vm.stop();
  await stores[Symbol.asyncDispose]();
});
beforeEach(async () => {
  temporary = new TemporaryDirectory();
  directory = temporary.path;
  await vm.files.remove("/work", { recursive: true, force: true });
  await vm.files.mkdir("/work");
});
afterEach(() => temporary[Symbol.dispose]());

const inGuest = async (script: string) => (await vm.exec(["sh", "-c", script])).stdout;

describe(`files of a machine on ${hypervisor}`, () => {
  test("are read and written, also by its commands", async () => {
    await vm.files.write("/work/script", "#!/bin/sh\necho $((6 * 7))\n", { mode: 0o755 });
    expect((await vm.exec(["/work/script"])).stdout).toBe("42\n");
    await inGuest("echo from the guest > /work/out; ln -s out /work/link");
    expect(await vm.files.read("/work/link", { encoding: "utf8" })).toBe("from the guest\n");
    const names = (await vm.files.list("/work")).map(({ name, type }) => `${name} ${type}`);
    expect(names.sort()).toEqual(["link symlink", "out file", "script file"]);
    await expect(vm.files.read("/work/none")).rejects.toMatchObject({
      code: "ERR_EXEC_FILE",
      errno: "ENOENT",
    });
  });

  test("have no trace of a write that was aborted", async () => {
    const writer = vm.files.writeStream("/work/never").getWriter();
    writer.closed.catch(() => {});
    await writer.write(Buffer.alloc(300_000));
    await writer.abort();
    expect(await inGuest("ls -a /work | wc -l")).toBe("2\n");
  });

  test("written to kernel settings are written in place", async () => {
    await vm.files.write("/proc/sys/kernel/hostname", "renamed");
    expect(await inGuest("hostname")).toBe("renamed\n");
  });

  test("say when the disk is full, and leave what was there", async () => {
    await inGuest(
      "mkdir /work/small; mount -t tmpfs -o size=1m none /work/small; echo old > /work/small/f",
    );
    const write = vm.files.write("/work/small/f", Buffer.alloc(2_000_000));
    await expect(write).rejects.toMatchObject({ errno: "ENOSPC", operation: "write" });
    expect(await inGuest("cat /work/small/f; ls -a /work/small | wc -l")).toBe("old\n3\n");
    await inGuest("umount /work/small");
  });

  test("are watched, through directories that are made meanwhile", async () => {
    using watcher = vm.files.watch("/work", { recursive: true });
    await watcher.ready;
    await inGuest("mkdir -p /work/a/b && echo x > /work/a/b/file");
    const seen: FileChange[] = [];
    for await (const change of watcher) {
      seen.push(change);
      if (change.path === "/work/a/b/file") break;
    }
    expect(seen[0]).toEqual({ type: "created", path: "/work/a" });
  });
});

describe("copies", () => {
  test("of a tree to the guest and back are the same tree", async () => {
    const source = join(directory, "tree");
    mkdirSync(join(source, "inner"), { recursive: true });
    writeFileSync(join(source, "inner/file"), "content");
    writeFileSync(join(source, "large"), Buffer.alloc(5_000_000, "0123456789"));
    writeFileSync(Buffer.from(`${source}/caf\xe9`, "latin1"), "latin");
    linkSync(join(source, "large"), join(source, "inner/second name"));
    symlinkSync("inner/file", join(source, "link"));
    chmodSync(join(source, "inner/file"), 0o751);
    execFileSync("touch", [
      "-h",
      "-d",
      "@1600000000",
      join(source, "inner/file"),
      join(source, "link"),
    ]);

    await vm.files.upload(source, "/work");
    expect(await inGuest("cd /work/tree && stat -c '%A %h %u %Y %n' inner/file link")).toBe(
      "-rwxr-x--x 1 0 1600000000 inner/file\nlrwxrwxrwx 1 0 1600000000 link\n",
    );
    expect(await inGuest("stat -c '%h %s' /work/tree/large")).toBe("2 5000000\n");
    await vm.files.download("/work/tree", join(directory, "back"), { archive: true });
    const listing = (root: string) =>
      execFileSync("find", [".", "-printf", "%P %y %m %n %l %s %T@\n"], {
        cwd: root,
        encoding: "latin1",
      })
        .replace(/ d (\d+) \d+ {2}\d+/g, " d $1")
        .replace(/\.\d+\n/g, "\n")
        .split("\n")
        .sort();
    expect(listing(join(directory, "back"))).toEqual(listing(source));
    execFileSync("cmp", [join(directory, "back/large"), join(source, "large")]);
  });

  test("of single files take the name or the directory they are given", async () => {
    writeFileSync(join(directory, "one"), "1");
    await vm.files.upload(join(directory, "one"), "/work");
    await vm.files.upload(join(directory, "one"), "/work/two");
    expect(await inGuest("cat /work/one /work/two")).toBe("11");
    await vm.files.download("/etc/hosts", directory);
    await vm.files.download("/etc/hosts", join(directory, "renamed"));
    expect(readFileSync(join(directory, "renamed"))).toEqual(
      readFileSync(join(directory, "hosts")),
    );
    await expect(vm.files.upload(directory, "/work/one")).rejects.toMatchObject({
      code: "ERR_COPY_DESTINATION",
    });
    await expect(vm.files.download("/none", directory)).rejects.toMatchObject({ errno: "ENOENT" });
  });

  test("of a hundred megabytes pass in both directions", async () => {
    writeFileSync(join(directory, "large"), Buffer.alloc(100 << 20, "0123456789abcdef"));
    const before = performance.now();
    await vm.files.upload(join(directory, "large"), "/work/large");
    const between = performance.now();
    await vm.files.download("/work/large", join(directory, "back"));
    const rate = (ms: number) => `${Math.round(100_000 / ms)} MiB/s`;
    stdout.write(
      `upload ${rate(between - before)}, download ${rate(performance.now() - between)}\n`,
    );
    execFileSync("cmp", [join(directory, "large"), join(directory, "back")]);
  }, 120_000);
});

test("a machine without any program has its files all the same", async () => {
  await using bare = await Vm.start({ image: "demo", store: stores.store, hypervisor });
  for (const path of ["/bin", "/sbin", "/usr"])
    await bare.files.remove(path, { recursive: true, force: true });
  await expect(bare.exec(["/bin/sh"])).rejects.toMatchObject({ code: "ERR_EXEC_NOT_FOUND" });
  writeFileSync(join(directory, "file"), "still here");
  await bare.files.upload(directory, "/new/");
  expect(await bare.files.read("/new/file", { encoding: "utf8" })).toBe("still here");
  await bare.files.download("/new", join(directory, "copy"));
  expect(readFileSync(join(directory, "copy/file"), "utf8")).toBe("still here");
});
