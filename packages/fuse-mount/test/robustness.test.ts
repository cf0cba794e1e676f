import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { type FsBackend, MemoryFs } from "@supermachine/fuse-server";
import { type Facility, requireFacility } from "@supermachine-internal/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { mount } from "../src/index.js";
import { shell } from "./shell.js";

const run = promisify(execFile);
// Node.js 20 runs no TypeScript, so the child processes need the built packages.
const built = ["fuse-mount", "fuse-server", "fuse-protocol"].map(
  (name): Facility => `file:${join(import.meta.dirname, "..", "..", name, "dist", "index.js")}`,
);

let directory: string;

/** Looks at the mount table only: asking a dead mount itself tells nothing. */
async function isMounted(path = directory): Promise<boolean> {
  const { stdout } = await run("findmnt", ["-n", "-o", "TARGET"]).catch(() => ({ stdout: "" }));
  return stdout.includes(path);
}

/** A process that mounts an empty file system on `directory`; resolves once it has. */
async function mountingProcess(options: object): Promise<ChildProcess> {
  const script = `(async () => {
    const { MemoryFs } = await import("@supermachine/fuse-server");
    const { mount, mountModule } = await import("@supermachine/fuse-mount");
    const { threads, ...options } = ${JSON.stringify(options)};
    const at = ${JSON.stringify(directory)};
    const module = "data:text/javascript,export const createBackend = () => ({})";
    if (threads) await mountModule({ module }, at, { threads, ...options });
    else await mount(new MemoryFs(), at, options);
    process.on("message", () => process.exit(0));
    process.send("mounted");
  })()`;
  const child = spawn(process.execPath, ["-e", script], {
    cwd: join(import.meta.dirname, ".."),
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const failed = once(child, "exit").then(([code]) => {
    throw new Error(`the mounting process ended with ${code}`);
  });
  await Promise.race([once(child, "message"), failed]);
  failed.catch(() => {});
  return child;
}

async function end(child: ChildProcess, signal: NodeJS.Signals | undefined): Promise<void> {
  const exited = once(child, "exit");
  if (signal === undefined) child.send("end");
  else child.kill(signal);
  await exited;
}

requireFacility(
  "linux",
  "root",
  "fuse",
  "program:fusermount3",
  "program:findmnt",
  ...built,
).describe("a process that serves a mount", () => {
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "fuse-mount-"));
  });
  afterEach(async () => {
    if (await isMounted()) await run("umount", ["-l", directory]);
    rmdirSync(directory);
  });

  it.each([{}, { via: "fusermount3" }, { threads: 2 }, { threads: 2, via: "fusermount3" }])(
    "leaves no mount behind when it exits (%j)",
    async (options) => {
      const child = await mountingProcess(options);
      expect(await isMounted()).toBe(true);
      await end(child, undefined);
      expect(await isMounted()).toBe(false);
    },
  );

  it.each([{}, { via: "fusermount3" }, { threads: 2 }])(
    "leaves no mount behind within a second of SIGKILL, with autoUnmount (%j)",
    async (options) => {
      const child = await mountingProcess({ ...options, autoUnmount: true });
      await end(child, "SIGKILL");
      for (let waited = 0; waited < 1000 && (await isMounted()); waited += 50) await delay(50);
      expect(await isMounted()).toBe(false);
    },
  );

  it("leaves a dead mount behind at SIGKILL, which the next mount clears away", async () => {
    await end(await mountingProcess({}), "SIGKILL");
    await expect(run("stat", [directory])).rejects.toThrow(/not connected/);
    await using again = await mount(new MemoryFs(), directory);
    expect(await shell("echo works > f; cat f", directory)).toBe("works\n");
    await again.unmount();
    expect(await isMounted()).toBe(false);
  });

  it("does not take away a dead mount of another kind", async () => {
    await end(await mountingProcess({ subtype: "other-one" }), "SIGKILL");
    await expect(mount(new MemoryFs(), directory)).rejects.toMatchObject({
      code: "ERR_FUSE_MOUNT_STALE",
      message: expect.stringContaining("fuse.other-one"),
    });
    expect(await isMounted()).toBe(true);
  });

  it("does not unmount what another has mounted there since", async () => {
    const child = await mountingProcess({ autoUnmount: true });
    await run("umount", ["-l", directory]);
    await using _other = await mount(new MemoryFs(), directory);
    await end(child, "SIGKILL").catch(() => {});
    await delay(300);
    expect(await isMounted()).toBe(true);
  });

  it("may be of an ordinary user, where that may use /dev/fuse", async () => {
    await run("chmod", ["755", directory]);
    await run("chown", ["nobody", directory]);
    // In a mount namespace of its own, /dev/fuse is open to all, as distributions have it.
    const device = join(tmpdir(), `fuse-device-${process.pid}`);
    const script = `mknod -m 666 ${device} c 10 229 && mount --bind ${device} /dev/fuse && rm ${device}
        exec setpriv --reuid nobody --regid nogroup --clear-groups "$@"`;
    const prefix = ["unshare", "-m", "sh", "-c", script, "sh"];
    const inside = `set -e
        cd ${directory}; echo hello > f; cat f; findmnt -no FSTYPE,OPTIONS .
        stat -c %U .`;
    const backend = `
        import { MemoryFs } from "@supermachine/fuse-server";
        import { mount } from "@supermachine/fuse-mount";
        import { execFile } from "node:child_process";
        import { promisify } from "node:util";
        const at = ${JSON.stringify(directory)};
        const { uid, gid } = { uid: process.getuid(), gid: process.getgid() };
        const mounted = await mount(new MemoryFs({ uid, gid }), at, { autoUnmount: true });
        console.log((await promisify(execFile)("sh", ["-c", ${JSON.stringify(inside)}])).stdout);
        await mounted.unmount();
        console.log((await promisify(execFile)("sh", ["-c", "findmnt " + at + " || echo gone"])).stdout);`;
    const [program = "", ...rest] = [
      ...prefix,
      process.execPath,
      "--input-type=module",
      "-e",
      backend,
    ];
    const { stdout } = await run(program, rest, { cwd: join(import.meta.dirname, "..") });
    expect(stdout).toMatch(/^hello\nfuse\.supermachine .*user_id=65534.*\n(nobody|root)\n\ngone\n/);
  });
});

requireFacility("linux", "root", "fuse").describe("a backend that never answers", () => {
  const stuck: FsBackend = {
    getattr(_ctx, _nodeid, _fh, reply) {
      reply.attr.mode = 0o040755;
      reply.attr.nlink = 2;
      return 0;
    },
    lookup: () => new Promise<number>(() => {}),
  };

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "fuse-mount-"));
  });
  afterEach(() => rmdirSync(directory));

  it("cannot keep its mount from ending", async () => {
    const mounted = await mount(stuck, directory);
    const asking = shell("stat something", directory);
    asking.catch(() => {});
    await delay(200);
    await expect(mounted.unmount()).rejects.toMatchObject({ code: "ERR_FUSE_MOUNT_BUSY" });
    const started = Date.now();
    await mounted[Symbol.asyncDispose]();
    expect(Date.now() - started).toBeLessThan(2000);
    await expect(asking).rejects.toThrow(/abort|not connected/i);
    expect(await isMounted()).toBe(false);
  });

  it("cannot even with written pages that wait for it", async () => {
    const backend: FsBackend = new MemoryFs();
    const mounted = await mount(backend, directory, { writebackCache: true });
    await shell("echo x > f", directory);
    backend.write = () => new Promise<number>(() => {});
    const writing = shell("echo y >> f", directory);
    writing.catch(() => {});
    await delay(200);
    const started = Date.now();
    await mounted[Symbol.asyncDispose]();
    expect(Date.now() - started).toBeLessThan(2000);
    await writing.catch(() => {});
    expect(await isMounted()).toBe(false);
  });
});

requireFacility("linux", "root", "fuse").describe("options", () => {
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "fuse-mount-"));
  });
  afterEach(() => rmdirSync(directory));

  it("reach the mount table and the kernel", async () => {
    await using _mounted = await mount(new MemoryFs(), directory, {
      source: "a source",
      subtype: "kind",
      maxRead: 8192,
      noExec: true,
      allowOther: true,
      defaultPermissions: false,
    });
    const shown = await shell("findmnt -no SOURCE,FSTYPE,OPTIONS .", directory);
    expect(shown).toMatch(/^a source\s+fuse\.kind\s+/);
    for (const option of ["nosuid", "nodev", "noexec", "allow_other", "max_read=8192"]) {
      expect(shown).toContain(option);
    }
    expect(shown).not.toContain("default_permissions");
  });
});

describe("the options of a mount", () => {
  it.skipIf(process.platform !== "linux")("with a subtype that is none are refused", async () => {
    const mounting = mount(new MemoryFs(), tmpdir(), { subtype: "a,b" });
    await expect(mounting).rejects.toMatchObject({ code: "ERR_FUSE_MOUNT_OPTION" });
  });
});
