import { execFile } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { S_IFDIR, S_IFREG } from "@supermachine/fuse-protocol";
import { type FsBackend, MemoryFs } from "@supermachine/fuse-server";
import { requireFacility } from "@supermachine-internal/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Mount, mount } from "../src/index.js";
import { shell } from "./shell.js";

requireFacility("linux", "root", "fuse", "program:fusermount3").describe(
  "a mounted MemoryFs",
  () => {
    let directory: string;
    let backend: MemoryFs;
    let mounted: Mount;

    beforeAll(() => {
      directory = mkdtempSync(join(tmpdir(), "fuse-mount-"));
    });
    beforeEach(async () => {
      backend = new MemoryFs();
      mounted = await mount(backend, directory, { allowOther: true });
    });
    afterEach(() => mounted[Symbol.asyncDispose]());
    afterAll(() => rmdirSync(directory));

    const sh = (script: string) => shell(script, directory);

    it("holds what cp, mv, ln, chmod, truncate and rm do", async () => {
      const out = await sh(`
      cp -a /etc/passwd a
      mkdir -p d/e/f
      mv a d/b
      ln d/b c
      ln -s d/b s
      cmp /etc/passwd s
      stat -c '%h %F' c d/b s d
      chmod 4750 c && stat -c %a d/b
      truncate -s 100M big && stat -c '%s %b' big
      rm -r d big && ls -A`);
      expect(out.trim().split("\n")).toEqual([
        "2 regular file",
        "2 regular file",
        "1 symbolic link",
        "3 directory",
        "4750",
        "104857600 0",
        "c",
        "s",
      ]);
    });

    it("keeps a tree that tar brings in and takes out", async () => {
      await sh(`
      mkdir t && tar -C /usr/include/linux -cf - . | tar -C t -xf -
      diff -r /usr/include/linux t
      tar -C t -cf - . | tar -df - -C /usr/include/linux`);
      expect((await sh("find t -type f | wc -l")).trim()).toBe(
        (await shell("find /usr/include/linux -type f | wc -l", "/")).trim(),
      );
      await sh("rm -rf t");
      expect(await sh("ls -A")).toBe("");
    });

    it("is good enough for git", async () => {
      const out = await sh(`
      git init -q repo && cd repo
      for i in $(seq 50); do echo "$i" > "f$i"; done
      git add . && git -c user.name=a -c user.email=a@b commit -qm first
      git mv f1 moved && rm f2 && git add -A
      git -c user.name=a -c user.email=a@b commit -qm second
      git gc -q && git fsck --strict 2>&1 && git status --short && git log --format=%s`);
      expect(out.trim().split("\n")).toEqual(["second", "first"]);
    });

    it("lists ten thousand names once each", async () => {
      await sh("mkdir many && cd many && seq 10000 | xargs touch");
      expect((await sh("ls -f many | sort -u | wc -l")).trim()).toBe("10002");
      expect((await sh("ls -l many | grep -c ^-")).trim()).toBe("10000");
      await sh("rm -rf many");
    });

    it("carries large writes and reads without change", async () => {
      const out = await sh(`
      head -c 20000000 /dev/urandom > a
      dd if=a of=b bs=1M oflag=direct status=none
      dd if=b of=c bs=777 status=none
      cmp a b && cmp a c && echo same
      cp --sparse=always a d && cmp a d && cat a b c d | wc -c`);
      expect(out.trim().split("\n")).toEqual(["same", "80000000"]);
    });

    it("keeps extended attributes, file times and modes", async () => {
      const out = await sh(`
      umask 027; touch f; mkdir d; stat -c %a f d
      setfattr -n user.k -v value f; getfattr --only-values -n user.k f; echo
      touch -d '1960-02-03 04:05:06.123456789' f; stat -c %y f
      mkfifo p; mknod n c 1 3; stat -c '%F %t,%T' p n`);
      expect(out.trim().split("\n")).toEqual([
        "640",
        "750",
        "value",
        "1960-02-03 04:05:06.123456789 +0000",
        "fifo 0,0",
        "character special file 1,3",
      ]);
    });

    it("lets a program use a file without a name", async () => {
      const out = await sh(`
      exec 3<>gone; rm gone; echo hello >&3; cat /proc/self/fd/3
      stat -L -c %h /proc/self/fd/3`);
      expect(out).toBe("hello\n0\n");
      expect(backend.bytes).toBe(0);
    });

    it("has permissions checked by the kernel", async () => {
      const script =
        "umask 077; echo x > secret; chmod 755 .; setpriv --reuid 65534 --clear-groups cat secret";
      await expect(sh(script)).rejects.toThrow(/Permission denied/);
    });

    it("is refused as busy while in use, and can be detached all the same", async () => {
      const holder = execFile("bash", ["-c", `cd ${directory} && exec sleep 60`]);
      try {
        await sh(`until [ "$(readlink /proc/${holder.pid}/cwd)" = "$PWD" ]; do sleep 0.1; done`);
        await expect(mounted.unmount()).rejects.toMatchObject({ code: "ERR_FUSE_MOUNT_BUSY" });
        expect(await sh("echo still; ")).toBe("still\n");
        await mounted.unmount({ lazy: true });
        await mounted.closed;
        expect(await shell(`mountpoint ${directory} || true`, "/")).toMatch(/is not a mountpoint/);
      } finally {
        holder.kill();
      }
    });

    it("notices that someone else unmounted it", async () => {
      await shell(`umount ${directory}`, "/");
      await mounted.closed;
      await mounted.unmount();
    });

    it("has the kernel forget what it cached when told to", async () => {
      await mounted[Symbol.asyncDispose]();
      let size = 1;
      const forever = Number.POSITIVE_INFINITY;
      const counting: FsBackend = {
        lookup(_ctx, _parent, _name, reply) {
          reply.nodeid = 2;
          reply.attr.mode = S_IFREG | 0o644;
          reply.attr.size = size;
          reply.attr.nlink = 1;
          return 0;
        },
        getattr(_ctx, nodeid, _fh, reply) {
          reply.attr.mode = nodeid === 1 ? S_IFDIR | 0o755 : S_IFREG | 0o644;
          reply.attr.size = size;
          reply.attr.nlink = 1;
          return 0;
        },
      };
      mounted = await mount(counting, directory, { entryValidMs: forever, attrValidMs: forever });
      const statSize = async () => Number(await sh("stat -c %s file"));
      expect(await statSize()).toBe(1);
      size = 2;
      expect(await statSize()).toBe(1);
      await mounted.notifier.invalidateInode(2);
      expect(await statSize()).toBe(2);
      size = 3;
      await mounted.notifier.invalidateEntry(1, "file");
      expect(await statSize()).toBe(3);
      await expect(mounted.notifier.invalidateEntry(1, "other")).rejects.toMatchObject({
        code: "ENOENT",
      });
    });

    it("can be mounted and unmounted by fusermount3", async () => {
      const other = mkdtempSync(join(tmpdir(), "fuse-mount-"));
      const second = await mount(new MemoryFs(), other, { via: "fusermount3", source: "a,b\\c" });
      expect(await shell("echo hello > x; cat x; findmnt -no SOURCE,FSTYPE .", other)).toBe(
        "hello\na,b\\c  fuse.supermachine\n",
      );
      const holder = execFile("bash", ["-c", `cd ${other} && exec sleep 60`]);
      await sh(`until [ "$(readlink /proc/${holder.pid}/cwd)" = "${other}" ]; do sleep 0.1; done`);
      await expect(second.unmount()).rejects.toMatchObject({ code: "ERR_FUSE_MOUNT_BUSY" });
      holder.kill();
      await second[Symbol.asyncDispose]();
      rmdirSync(other);
    });

    it("can be read-only", async () => {
      const other = mkdtempSync(join(tmpdir(), "fuse-mount-"));
      {
        await using _readOnly = await mount(new MemoryFs(), other, { readOnly: true });
        await expect(shell("touch x", other)).rejects.toThrow(/Read-only file system/);
      }
      rmdirSync(other);
    });
  },
);

describe("mounting", () => {
  it("says what is wrong with a mount point", async () => {
    const mounting = mount(new MemoryFs(), "/nonexistent/mount-point");
    const code = process.platform === "linux" ? "ERR_FUSE_MOUNT_POINT" : "ERR_FUSE_MOUNT_PLATFORM";
    await expect(mounting).rejects.toMatchObject({ code });
  });
});
