import { execFileSync } from "node:child_process";
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { TemporaryDirectory } from "@supermachine-internal/testing";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { GuestFiles } from "../src/index.js";
import { type NativeAgent, startNativeAgent } from "./native-agent.js";

let agent: NativeAgent;
let files: GuestFiles;
let temporary: TemporaryDirectory;
let directory: string;
let source: string;
let target: string;

beforeAll(async () => {
  agent = await startNativeAgent();
  files = agent.client.files;
});
afterAll(() => agent.close());
beforeEach(() => {
  temporary = new TemporaryDirectory();
  directory = temporary.path;
  source = join(directory, "source");
  target = join(directory, "target");
  mkdirSync(source);
  mkdirSync(target);
});
afterEach(() => temporary[Symbol.dispose]());

/** GNU tar; `-C` is up to the caller. */
function tar(args: readonly string[], input?: Uint8Array): Buffer {
  const options = { stdio: "pipe", maxBuffer: 1 << 28 } as const;
  return execFileSync("tar", args, input === undefined ? options : { ...options, input });
}

async function packed(...args: Parameters<GuestFiles["pack"]>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of files.pack(...args)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function unpack(archive: Uint8Array, options?: Parameters<GuestFiles["unpack"]>[1]) {
  const writer = files.unpack(target, options).getWriter();
  writer.closed.catch(() => {});
  // In pieces that fit no block.
  for (let at = 0; at < archive.length; at += 9999)
    await writer.write(archive.subarray(at, at + 9999));
  await writer.close();
}

/** Type, mode, owner, size, time, links and content of everything in a tree. */
function picture(root: string): string[] {
  const lines: string[] = [];
  const visit = (path: string, name: string) => {
    const st = lstatSync(path);
    const content = st.isSymbolicLink()
      ? readlinkSync(path)
      : st.isFile()
        ? readFileSync(path, "latin1").slice(0, 100)
        : "";
    const size = st.isFile() ? st.size : 0;
    const time = st.isDirectory() && name === "" ? 0 : Math.floor(st.mtimeMs / 1000);
    const links = st.isFile() ? st.nlink : 0;
    lines.push([name, st.mode, st.uid, st.gid, size, time, links, content].join(" "));
    if (!st.isDirectory()) return;
    for (const entry of readdirSync(path, "latin1").sort())
      visit(Buffer.from(`${path}/${entry}`, "latin1").toString("latin1"), `${name}/${entry}`);
  };
  visit(root, "");
  return lines;
}

function makeTree() {
  mkdirSync(join(source, "a/b"), { recursive: true });
  writeFileSync(join(source, "a/file"), "content");
  writeFileSync(join(source, "a/empty"), "");
  writeFileSync(join(source, "a/block"), "x".repeat(512));
  writeFileSync(join(source, "a/large"), Buffer.alloc(200_001, "y"));
  writeFileSync(join(source, `a/b/${"long".repeat(40)}`), "long");
  // Of this name a header holds all up to a slash.
  mkdirSync(join(source, "a", "d".repeat(95)));
  writeFileSync(join(source, "a", "d".repeat(95), "file"), "cut");
  linkSync(join(source, "a/file"), join(source, "a/b/second"));
  symlinkSync("../file", join(source, "a/b/link"));
  symlinkSync(`../${"l".repeat(150)}`, join(source, "a/b/longlink"));
  execFileSync("mkfifo", [join(source, "a/fifo")]);
  execFileSync("chown", ["-h", "3000000:4000000", join(source, "a/empty")]);
  execFileSync("chmod", ["4751", join(source, "a/large")]);
  execFileSync("touch", [
    "-h",
    "-d",
    "@1600000000",
    join(source, "a/b/link"),
    join(source, "a/file"),
  ]);
  execFileSync("touch", ["-d", "@-5", join(source, "a/empty")]);
  execFileSync("touch", ["-d", "@1500000000", join(source, "a/b"), join(source, "a")]);
  execFileSync("chmod", ["0555", join(source, "a/b")]);
}

describe("packing", () => {
  it("makes archives from which GNU tar makes the same tree", async () => {
    makeTree();
    tar(["-xpf", "-", "-C", target, "--same-owner"], await packed(source, "."));
    expect(picture(target)).toEqual(picture(source));
  });

  it("calls a file or a tree as it is told", async () => {
    writeFileSync(join(source, "file"), "x");
    mkdirSync(join(source, "d"));
    expect(tar(["-tf", "-"], await packed(join(source, "file"), "new")).toString()).toBe("new\n");
    expect(
      tar(["-tf", "-"], await packed(source, "other"))
        .toString()
        .split("\n")
        .sort(),
    ).toEqual(["", "other/", "other/d/", "other/file"]);
  });

  it("packs a symbolic link, or what it names", async () => {
    writeFileSync(join(source, "file"), "x");
    symlinkSync("file", join(source, "link"));
    const link = join(source, "link");
    expect(tar(["-tvf", "-"], await packed(link, "l")).toString()).toContain("l -> file");
    const followed = tar(["-tvf", "-"], await packed(link, "l", { followSymlink: true }));
    expect(followed.toString()).toMatch(/^-rw.* l\n$/);
  });

  it("shows nothing of what the kernel shows as files", async () => {
    const listed = tar(["-tf", "-"], await packed("/proc", "proc")).toString();
    expect(listed).toBe("proc/\n");
  });

  it("fails with the errno of what cannot be read", async () => {
    await expect(packed(join(source, "none"), "x")).rejects.toMatchObject({
      operation: "pack",
      errno: "ENOENT",
    });
    mkdirSync(join(source, "closed"), { mode: 0o700 });
    await expect(packed(source, "s", { user: "daemon" })).rejects.toMatchObject({
      errno: "EACCES",
      message: expect.stringContaining("s/closed: Permission denied"),
    });
  });
});

describe("unpacking", () => {
  it.each(["gnu", "posix", "ustar", "oldgnu"])(
    "makes the same tree from an archive of GNU tar's format %s",
    async (format) => {
      makeTree();
      // ustar can express neither of these.
      const tooMuch = ["a/b/longlink", "a/empty", `a/b/${"long".repeat(40)}`];
      if (format === "ustar")
        for (const name of tooMuch) rmSync(join(source, name), { force: true });
      execFileSync("touch", ["-d", "@1500000000", join(source, "a/b"), join(source, "a")]);
      const archive = tar([`--format=${format}`, "-cf", "-", "-C", source, "."]);
      await unpack(archive, { keepOwners: true });
      expect(picture(target)).toEqual(picture(source));
    },
  );

  it("gives everything to its user unless told to keep the owners", async () => {
    writeFileSync(join(source, "file"), "x");
    execFileSync("chown", ["1:1", join(source, "file")]);
    const archive = tar(["-cf", "-", "-C", source, "file"]);
    await unpack(archive);
    expect(lstatSync(join(target, "file")).uid).toBe(process.getuid?.());
    await unpack(archive, { keepOwners: true });
    expect(lstatSync(join(target, "file")).uid).toBe(1);
  });

  it("replaces files and links, and keeps directories with what is in them", async () => {
    mkdirSync(join(source, "d"));
    writeFileSync(join(source, "d/new"), "new");
    writeFileSync(join(source, "f"), "new");
    mkdirSync(join(target, "d"), { mode: 0o700 });
    writeFileSync(join(target, "d/old"), "old");
    writeFileSync(join(directory, "outside"), "safe");
    symlinkSync("../outside", join(target, "f"));
    await unpack(tar(["-cf", "-", "-C", source, "."]));
    expect(readdirSync(join(target, "d")).sort()).toEqual(["new", "old"]);
    expect(lstatSync(join(target, "d")).mode & 0o777).toBe(0o700);
    expect(lstatSync(join(target, "f")).isFile()).toBe(true);
    expect(readFileSync(join(directory, "outside"), "utf8")).toBe("safe");
  });

  it("does not put a file in the place of a directory, nor a directory in that of a file", async () => {
    mkdirSync(join(target, "x"));
    writeFileSync(join(source, "x"), "");
    await expect(unpack(tar(["-cf", "-", "-C", source, "x"]))).rejects.toMatchObject({
      errno: "EISDIR",
    });
    rmSync(join(source, "x"));
    rmSync(join(target, "x"), { recursive: true });
    mkdirSync(join(source, "x"));
    writeFileSync(join(target, "x"), "");
    await expect(unpack(tar(["-cf", "-", "-C", source, "x"]))).rejects.toMatchObject({
      errno: "EEXIST",
    });
  });

  it("refuses names with `..`", async () => {
    writeFileSync(join(source, "file"), "x");
    const archive = tar(["-cPf", "-", "-C", source, "--transform", "s,^,a/../../,", "file"]);
    await expect(unpack(archive)).rejects.toMatchObject({ operation: "unpack", errno: "EINVAL" });
    expect(readdirSync(directory).sort()).toEqual(["source", "target"]);
  });

  it("takes absolute names as below the directory", async () => {
    writeFileSync(join(source, "file"), "x");
    await unpack(tar(["-cPf", "-", join(source, "file")]));
    expect(existsSync(join(target, source, "file"))).toBe(true);
  });

  it.each(["../outside", "/outside", "absolute"])(
    "does not leave the directory through a link of the archive: %s",
    async (link) => {
      mkdirSync(join(directory, "outside"));
      symlinkSync(link === "absolute" ? join(directory, "outside") : link, join(source, "way"));
      const first = join(directory, "archive.tar");
      tar(["-cf", first, "-C", source, "way"]);
      rmSync(join(source, "way"));
      mkdirSync(join(source, "way"));
      writeFileSync(join(source, "way/file"), "x");
      tar(["-rf", first, "-C", source, "way/file"]);
      // What the link names is looked for below the directory, and is not there.
      await expect(unpack(readFileSync(first))).rejects.toMatchObject({ code: "ERR_EXEC_FILE" });
      expect(readdirSync(join(directory, "outside"))).toEqual([]);
    },
  );

  it("follows the links of the directory, as if that were the root", async () => {
    mkdirSync(join(target, "usr/lib"), { recursive: true });
    symlinkSync("usr/lib", join(target, "lib"));
    symlinkSync("/usr/lib", join(target, "lib64"));
    mkdirSync(join(source, "lib"));
    mkdirSync(join(source, "lib64"));
    writeFileSync(join(source, "lib/a"), "");
    writeFileSync(join(source, "lib64/b"), "");
    await unpack(tar(["-cf", "-", "-C", source, "."]));
    expect(readdirSync(join(target, "usr/lib")).sort()).toEqual(["a", "b"]);
    expect(readlinkSync(join(target, "lib64"))).toBe("/usr/lib");
  });

  it("does not make hard links to files outside", async () => {
    writeFileSync(join(directory, "secret"), "secret");
    const base = join(directory, "archive.tar");
    linkSync(join(directory, "secret"), join(directory, "second"));
    tar(["-cPf", base, "-C", directory, "--transform", "s,^secret,../secret,", "secret", "second"]);
    await expect(unpack(readFileSync(base))).rejects.toMatchObject({ errno: "EINVAL" });
    expect(readdirSync(target)).toEqual([]);
  });

  it("refuses an archive that is cut short or damaged, wherever that is", async () => {
    writeFileSync(join(source, "file"), "x".repeat(1000));
    writeFileSync(join(source, "n".repeat(150)), "y");
    const archive = tar(["--format=posix", "-b1", "-cf", "-", "-C", source, "."]);
    const end = archive.length - 1024;
    for (const length of [1, 511, 513, 1024 + 100, end - 512, end - 1]) {
      await expect(unpack(archive.subarray(0, length))).rejects.toMatchObject({
        errno: "EBADMSG",
      });
    }
    const damaged = Buffer.from(archive);
    damaged[3] = 0x7f;
    await expect(unpack(damaged)).rejects.toMatchObject({ errno: "EBADMSG" });
    await unpack(new Uint8Array(0));
  });

  it("refuses a directory that is none", async () => {
    const writer = files.unpack("/etc/passwd").getWriter();
    await expect(writer.close()).rejects.toMatchObject({ errno: "ENOTDIR" });
    await writer.closed.catch(() => {});
  });
});
