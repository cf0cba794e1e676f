import { execFileSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { TemporaryDirectory } from "@supermachine-internal/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { FileChange, GuestFiles } from "../src/index.js";
import { type NativeAgent, startNativeAgent } from "./native-agent.js";

let agent: NativeAgent;
let files: GuestFiles;
let temporary: TemporaryDirectory;
let directory: string;

beforeAll(async () => {
  agent = await startNativeAgent();
  files = agent.client.files;
});
afterAll(() => agent.close());
beforeEach(() => {
  temporary = new TemporaryDirectory();
  directory = temporary.path;
});
afterEach(() => temporary[Symbol.dispose]());

const modeOf = (path: string) => statSync(path).mode & 0o7777;

describe("reading and writing", () => {
  it("gives back what was written, with its mode", async () => {
    const path = join(directory, "file");
    const data = Buffer.alloc(3_000_000, "abcdefg");
    await files.write(path, data, { mode: 0o640 });
    expect(modeOf(path)).toBe(0o640);
    expect(data.equals(await files.read(path))).toBe(true);
    await files.write(path, "grüße");
    expect(await files.read(path, { encoding: "utf8" })).toBe("grüße");
    expect(readdirSync(directory)).toEqual(["file"]);
  });

  it("keeps the mode of a file that is replaced, and otherwise makes it 644", async () => {
    const path = join(directory, "script");
    await files.write(path, "one");
    expect(modeOf(path)).toBe(0o644);
    await files.chmod(path, 0o4755);
    await files.write(path, "two");
    expect(modeOf(path)).toBe(0o4755);
  });

  it("replaces the file that a symbolic link names, not the link", async () => {
    writeFileSync(join(directory, "file"), "old");
    symlinkSync("file", join(directory, "link"));
    await files.write(join(directory, "link"), "new");
    expect(readlinkSync(join(directory, "link"))).toBe("file");
    expect(readFileSync(join(directory, "file"), "utf8")).toBe("new");
  });

  it("writes an empty file, and adds to the end of one", async () => {
    const path = join(directory, "log");
    await files.write(path, "");
    expect(readFileSync(path, "utf8")).toBe("");
    await files.write(path, "one\n", { append: true });
    await files.write(path, "two\n", { append: true });
    expect(readFileSync(path, "utf8")).toBe("one\ntwo\n");
  });

  it("writes in place where a directory takes no new files", async () => {
    await files.write("/dev/null", "gone");
    expect(statSync("/dev/null").isCharacterDevice()).toBe(true);
    await files.write("/proc/self/oom_score_adj", "0");
  });

  it("streams both ways", async () => {
    const path = join(directory, "stream");
    const writer = files.writeStream(path).getWriter();
    for (let i = 0; i < 100; i++) await writer.write(Buffer.alloc(100_000, `${i % 10}`));
    expect(existsSync(path)).toBe(false);
    await writer.close();
    let size = 0;
    for await (const chunk of files.readStream(path)) size += chunk.length;
    expect(size).toBe(10_000_000);
  });

  it("leaves nothing behind when a write is aborted", async () => {
    const path = join(directory, "never");
    const writer = files.writeStream(path).getWriter();
    writer.closed.catch(() => {});
    await writer.write(Buffer.alloc(1000));
    await writer.abort();
    expect(readdirSync(directory)).toEqual([]);
  });

  it("leaves nothing behind when its caller gives up", async () => {
    const abort = new AbortController();
    const stream = files.writeStream(join(directory, "never"), { signal: abort.signal });
    const writer = stream.getWriter();
    writer.closed.catch(() => {});
    await writer.write(Buffer.alloc(1000));
    abort.abort();
    await expect(writer.close()).rejects.toMatchObject({ code: "ERR_EXEC_ABORTED" });
    expect(readdirSync(directory)).toEqual([]);
  });

  it("stops reading when the reader cancels", async () => {
    const path = join(directory, "large");
    execFileSync("truncate", ["-s", "10G", path]);
    const reader = files.readStream(path).getReader();
    expect((await reader.read()).done).toBe(false);
    await reader.cancel();
  });

  it("says in the stream what cannot be streamed", async () => {
    const reader = files.readStream(join(directory, "none")).getReader();
    await expect(reader.read()).rejects.toMatchObject({ operation: "read", errno: "ENOENT" });
    const writer = files.writeStream(join(directory, "none/file")).getWriter();
    writer.closed.catch(() => {});
    const writing = (async () => {
      for (;;) await writer.write(Buffer.alloc(100_000));
    })();
    await expect(writing).rejects.toMatchObject({ operation: "write", errno: "ENOENT" });
  });

  it("refuses to collect more than allowed", async () => {
    await files.write(join(directory, "file"), "0123456789");
    const read = files.read(join(directory, "file"), { maxBytes: 9 });
    await expect(read).rejects.toMatchObject({ code: "ERR_EXEC_OUTPUT_LIMIT" });
  });
});

describe("directories", () => {
  it("list entries with all their attributes", async () => {
    writeFileSync(join(directory, "file"), "12345", { mode: 0o600 });
    linkSync(join(directory, "file"), join(directory, "second"));
    mkdirSync(join(directory, "directory"));
    symlinkSync("no/where", join(directory, "link"));
    execFileSync("mkfifo", [join(directory, "fifo")]);
    execFileSync("touch", ["-d", "@1700000000.5", join(directory, "file")]);
    const entries = await files.list(directory);
    const byName = new Map(entries.map((entry) => [entry.name, entry]));
    expect([...byName.keys()].sort()).toEqual(["directory", "fifo", "file", "link", "second"]);
    expect(byName.get("file")).toEqual({
      name: "file",
      type: "file",
      size: 5,
      mode: 0o600,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
      links: 2,
      mtimeMs: 1_700_000_000_500,
      target: undefined,
    });
    expect(byName.get("link")).toMatchObject({ type: "symlink", target: "no/where" });
    expect(byName.get("directory")?.type).toBe("directory");
    expect(byName.get("fifo")?.type).toBe("fifo");
  });

  it("list thousands of entries", async () => {
    for (let i = 0; i < 2000; i++)
      writeFileSync(join(directory, `a rather long name of a file ${i}`), "");
    expect(await files.list(directory)).toHaveLength(2000);
  });

  it("keep names that are not UTF-8", async () => {
    const name = "caf\udce9";
    await files.write(join(directory, name), "x");
    expect(readdirSync(directory, { encoding: "buffer" })).toEqual([
      Buffer.from("caf\xe9", "latin1"),
    ]);
    expect((await files.list(directory))[0]?.name).toBe(name);
    await files.remove(join(directory, name));
    expect(readdirSync(directory)).toEqual([]);
  });

  it("are made with their parents, and may then exist", async () => {
    const path = join(directory, "a/b/c");
    await files.mkdir(path, { recursive: true, mode: 0o1777 });
    expect(modeOf(path)).toBe(0o1777);
    await files.mkdir(path, { recursive: true });
    await expect(files.mkdir(path)).rejects.toMatchObject({ errno: "EEXIST" });
  });

  it("are removed with what is in them, but not with what links in them name", async () => {
    mkdirSync(join(directory, "tree/inner/deep"), { recursive: true });
    mkdirSync(join(directory, "other"));
    writeFileSync(join(directory, "other/kept"), "");
    writeFileSync(join(directory, "tree/inner/file"), "");
    symlinkSync("../../other", join(directory, "tree/inner/link"));
    await expect(files.remove(join(directory, "tree"))).rejects.toMatchObject({
      errno: "ENOTEMPTY",
    });
    await files.remove(join(directory, "tree"), { recursive: true });
    expect(readdirSync(directory)).toEqual(["other"]);
    expect(readdirSync(join(directory, "other"))).toEqual(["kept"]);
  });
});

describe("names", () => {
  it("are renamed, linked, read, and known to exist or not", async () => {
    const [one, two, link] = ["one", "two", "link"].map((name) => join(directory, name)) as [
      string,
      string,
      string,
    ];
    await files.write(one, "content");
    await files.rename(one, two);
    await files.symlink("two", link);
    expect(await files.readlink(link)).toBe("two");
    expect(await files.stat(link)).toMatchObject({ type: "file", size: 7 });
    expect(await files.stat(link, { followSymlinks: false })).toMatchObject({ type: "symlink" });
    expect(await files.exists(one)).toBe(false);
    expect(await files.exists(join(two, "below"))).toBe(false);
    expect(await files.exists(link)).toBe(true);
    await files.remove(two);
    expect(await files.exists(link)).toBe(false);
    await files.remove(link);
    await files.remove(link, { force: true });
    await expect(files.remove(link)).rejects.toMatchObject({ errno: "ENOENT" });
  });

  it("change hands", async () => {
    const path = join(directory, "file");
    await files.write(path, "");
    await files.chown(path, 1234, 5678);
    expect(await files.stat(path)).toMatchObject({ uid: 1234, gid: 5678 });
  });

  it.each([
    ["read", () => files.read("/no/such"), "ENOENT"],
    ["read", () => files.read("/tmp"), "EISDIR"],
    ["read", () => files.read("/dev/null"), "EINVAL"],
    ["write", () => files.write("/no/such/file", "x"), "ENOENT"],
    ["write", () => files.write("/tmp", "x"), "EISDIR"],
    ["write", () => files.write("/etc/denied", "x", { user: "daemon" }), "EACCES"],
    ["list", () => files.list("/etc/passwd"), "ENOTDIR"],
    ["stat", () => files.stat("/etc/passwd/x"), "ENOTDIR"],
    ["rename", () => files.rename("/no/such", "/tmp/x"), "ENOENT"],
    ["readlink", () => files.readlink("/etc/passwd"), "EINVAL"],
    ["chmod", () => files.chmod("/no/such", 0o600), "ENOENT"],
    ["chown", () => files.chown("/etc/passwd", 1, 1, { user: "daemon" }), "EPERM"],
    ["mkdir", () => files.mkdir("/no/such"), "ENOENT"],
    ["symlink", () => files.symlink("x", "/etc/passwd"), "EEXIST"],
  ])("that cannot be had fail with the guest's errno: %s, %o", async (operation, call, errno) => {
    await expect(call()).rejects.toMatchObject({
      name: "GuestFileError",
      code: "ERR_EXEC_FILE",
      operation,
      errno,
    });
  });

  it("that could be none are refused before they are sent", async () => {
    for (const path of ["", "relative", "/a\0b"]) {
      await expect(files.read(path)).rejects.toMatchObject({ code: "ERR_EXEC_INVALID" });
    }
    await expect(files.read("/etc/passwd", { user: "nobody-at-all" })).rejects.toMatchObject({
      code: "ERR_EXEC_UNKNOWN_USER",
    });
  });

  it("do not bring control characters into messages", async () => {
    const read = files.read("/no\x1b[31m\nsuch");
    await expect(read).rejects.toThrow("/no\\u{1b}[31m\\u{a}such: No such file");
  });
});

describe("watching", () => {
  /** Collects changes until one fits. */
  async function until(
    changes: AsyncIterator<FileChange>,
    type: FileChange["type"],
    name: string,
  ): Promise<string[]> {
    const seen: string[] = [];
    for (;;) {
      const { value, done } = await changes.next();
      if (done) throw new Error(`ended after ${seen.join(", ")}`);
      const change = value as FileChange;
      seen.push(`${change.type} ${change.path.slice(directory.length + 1)}`);
      if (change.type === type && change.path === join(directory, name)) return seen;
    }
  }

  it("tells what happens in a directory", async () => {
    using watcher = files.watch(directory);
    await watcher.ready;
    const changes = watcher[Symbol.asyncIterator]();
    writeFileSync(join(directory, "a"), "x");
    expect(await until(changes, "modified", "a")).toEqual(["created a", "modified a"]);
    renameSync(join(directory, "a"), join(directory, "b"));
    expect(await until(changes, "created", "b")).toEqual(["removed a", "created b"]);
    execFileSync("chmod", ["600", join(directory, "b")]);
    expect(await until(changes, "attributes", "b")).toEqual(["attributes b"]);
    rmSync(join(directory, "b"));
    expect(await until(changes, "removed", "b")).toEqual(["removed b"]);
    mkdirSync(join(directory, "c/d"), { recursive: true });
    expect(await until(changes, "created", "c")).toEqual(["created c"]);
  });

  it("tells what happens in directories below, also new ones and under new names", async () => {
    mkdirSync(join(directory, "old/inner"), { recursive: true });
    using watcher = files.watch(directory, { recursive: true });
    await watcher.ready;
    const changes = watcher[Symbol.asyncIterator]();
    writeFileSync(join(directory, "old/inner/a"), "x");
    await until(changes, "created", "old/inner/a");
    mkdirSync(join(directory, "new/one/two"), { recursive: true });
    writeFileSync(join(directory, "new/one/two/b"), "x");
    await until(changes, "created", "new/one/two/b");
    renameSync(join(directory, "old"), join(directory, "moved"));
    await until(changes, "created", "moved/inner");
    writeFileSync(join(directory, "moved/inner/c"), "x");
    await until(changes, "created", "moved/inner/c");
  });

  it("ends when the watched file is removed", async () => {
    const path = join(directory, "file");
    writeFileSync(path, "");
    const watcher = files.watch(path);
    await watcher.ready;
    writeFileSync(path, "more");
    rmSync(path);
    const seen: FileChange[] = [];
    for await (const change of watcher) seen.push(change);
    expect(seen[0]).toEqual({ type: "modified", path });
    expect(seen.at(-1)).toEqual({ type: "removed", path });
  });

  it("says when it could not keep up", async () => {
    using watcher = files.watch(directory);
    await watcher.ready;
    // Long names fill what lies between the kernel and the loop with few changes.
    for (let i = 0; i < 12_000; i++) {
      const path = join(directory, `${i % 10}`.padEnd(200, "-"));
      writeFileSync(path, "");
      rmSync(path);
    }
    for await (const change of watcher) if (change.type === "overflow") break;
  });

  it("says what cannot be watched, in the loop too", async () => {
    const watcher = files.watch(join(directory, "none"));
    await expect(watcher.ready).rejects.toMatchObject({ errno: "ENOENT" });
    const next = watcher[Symbol.asyncIterator]().next();
    await expect(next).rejects.toMatchObject({ operation: "watch", errno: "ENOENT" });
  });

  it("ends with an error when its caller gives up", async () => {
    const abort = new AbortController();
    const watcher = files.watch(directory, { signal: abort.signal });
    await watcher.ready;
    const next = watcher[Symbol.asyncIterator]().next();
    abort.abort();
    await expect(next).rejects.toMatchObject({ code: "ERR_EXEC_ABORTED" });
  });

  it("ends quietly when closed", async () => {
    const watcher = files.watch(directory);
    await watcher.ready;
    setTimeout(() => watcher.close(), 20);
    for await (const _ of watcher) throw new Error("nothing has changed");
  });
});
