import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { encodeTarHeader, type NewTarHeader } from "@supermachine/oci/tar";
import { openDescriptors, runs, TemporaryDirectory } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { SupermachineError } from "../errors.js";
import { packHost } from "./host-pack.js";
import { type HostUnpackOptions, unpackToHost } from "./host-unpack.js";

let temporary: TemporaryDirectory;
let source: string;
let target: string;
let outside: string;
let descriptors: string[];

beforeEach(() => {
  temporary = new TemporaryDirectory();
  [source, target, outside] = ["source", "target", "outside"].map((name) =>
    join(temporary.path, name),
  ) as [string, string, string];
  for (const path of [source, target, outside]) mkdirSync(path);
  descriptors = openDescriptors();
});
afterEach(() => {
  expect(openDescriptors()).toEqual(descriptors);
  temporary[Symbol.dispose]();
});

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return Buffer.concat(parts);
}

const tar = (args: readonly string[], input?: Uint8Array) =>
  execFileSync("tar", args, { stdio: "pipe", ...(input === undefined ? {} : { input }) });

/** An archive of headers, with as much content as they announce. */
function archive(...entries: Partial<NewTarHeader>[]): Buffer {
  const blocks = entries.map((entry) => {
    const header = {
      type: "file" as const,
      linkname: "",
      mode: 0o644,
      uid: 0,
      gid: 0,
      size: 0,
      mtime: 1_700_000_000,
      name: "",
      ...entry,
    };
    const content = Buffer.alloc(Math.ceil(header.size / 512) * 512, "x");
    return Buffer.concat([encodeTarHeader(header), content]);
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

async function* inParts(bytes: Uint8Array, size = 700): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const unpack = (bytes: Uint8Array, options?: HostUnpackOptions) =>
  unpackToHost(inParts(bytes), target, options);

function makeTree(): void {
  mkdirSync(join(source, "a/b"), { recursive: true });
  writeFileSync(join(source, "a/file"), "content");
  writeFileSync(join(source, "a/empty"), "");
  writeFileSync(join(source, "a/large"), Buffer.alloc(700_001, "y"));
  writeFileSync(join(source, "a/b", "long".repeat(40)), "long");
  writeFileSync(Buffer.from(`${source}/a/caf\xe9`, "latin1"), "latin");
  linkSync(join(source, "a/file"), join(source, "a/b/second"));
  symlinkSync("../file", join(source, "a/b/link"));
  chmodSync(join(source, "a/large"), 0o4751);
  execFileSync("touch", ["-h", "-d", "@1500000000", join(source, "a/b/link"), join(source, "a/b")]);
  chmodSync(join(source, "a/b"), 0o555);
}

/** Type, mode, owner, size, time, links and content of everything in a tree, by GNU find. */
function picture(root: string): string[] {
  const format = "%P %y %m %U %G %l %n %T@ %s\n";
  const lines = execFileSync("find", [root, "-mindepth", "1", "-printf", format], {
    encoding: "latin1",
  });
  // Sizes of directories are the file system's; times have whole seconds in archives.
  return lines
    .replace(/(\d+)\.\d+ (\d+)\n/g, "$1 $2\n")
    .replace(/ d (.*) \d+ (\d+) \d+\n/g, " d $1 $2\n")
    .split("\n")
    .sort();
}

describe("packing a tree of the host", () => {
  test("gives an archive from which GNU tar makes the same tree", async () => {
    makeTree();
    const packed = await collect(packHost(source, "."));
    tar(["-xpf", "-", "-C", target], packed);
    expect(picture(target)).toEqual(picture(source));
    execFileSync("cmp", [join(target, "a/large"), join(source, "a/large")]);
  });

  test("calls files as told, and follows a link at the top only when told or named as a directory", async () => {
    mkdirSync(join(source, "d"));
    writeFileSync(join(source, "d/file"), "x");
    symlinkSync("d", join(source, "link"));
    const list = async (...args: Parameters<typeof packHost>) =>
      tar(["-tf", "-"], await collect(packHost(...args))).toString();
    const link = join(source, "link");
    expect(await list(link, "new")).toBe("new\n");
    expect(await list(link, "new", { followSymlink: true })).toBe("new/\nnew/file\n");
    expect(await list(`${link}/`, "new")).toBe("new/\nnew/file\n");
    expect(await list(join(source, "d/file"), "f")).toBe("f\n");
  });

  test("says what cannot be read", async () => {
    await expect(collect(packHost(join(source, "none"), "n"))).rejects.toMatchObject({
      code: "ERR_COPY_HOST",
      message: expect.stringMatching(/ENOENT/),
    });
  });

  test("never leaves the tree, though directories turn into links meanwhile", async () => {
    writeFileSync(join(outside, "secret"), "secret");
    for (let i = 0; i < 20; i++) {
      mkdirSync(join(source, `d${i}`));
      writeFileSync(join(source, `d${i}/secret`), "known");
    }
    const packed: Uint8Array[] = [];
    // Small pieces do not leave before the end: a large file first makes the walk wait for the swap.
    writeFileSync(join(source, "d0/large"), Buffer.alloc(1_000_000));
    let swapped = false;
    try {
      for await (const piece of packHost(source, "s")) {
        packed.push(piece);
        if (swapped) continue;
        swapped = true;
        for (let i = 0; i < 20; i++) {
          renameSync(join(source, `d${i}`), join(temporary.path, `moved${i}`));
          symlinkSync(outside, join(source, `d${i}`));
        }
      }
    } catch (error) {
      expect(error).toMatchObject({ code: "ERR_COPY_HOST" });
    }
    expect(swapped).toBe(true);
    const text = Buffer.concat(packed).toString("latin1");
    expect(text).not.toMatch(/secret\0{506}/);
  });
});

describe("unpacking on the host", () => {
  test("makes the tree that was packed", async () => {
    makeTree();
    chmodSync(join(source, "a/large"), 0o751);
    await unpack(await collect(packHost(source, ".")));
    expect(picture(target)).toEqual(picture(source));
  });

  test("makes the tree of an archive of GNU tar, with owners and set-id bits when told", async () => {
    makeTree();
    execFileSync("chown", ["-h", "1234:5678", join(source, "a/empty"), join(source, "a/b/link")]);
    const bytes = tar(["--format=gnu", "-cf", "-", "-C", source, "a"]);
    await unpack(bytes, { keepOwners: true });
    expect(picture(target)).toEqual(picture(source));
  });

  test("gives files to the caller, without set-id bits, unless told otherwise", async () => {
    await unpack(archive({ name: "f", mode: 0o6755, uid: 99, gid: 99 }));
    const st = lstatSync(join(target, "f"));
    expect([st.mode & 0o7777, st.uid]).toEqual([0o755, process.getuid?.()]);
  });

  test("replaces files and links, and keeps directories with what is in them", async () => {
    mkdirSync(join(target, "d"), { mode: 0o700 });
    writeFileSync(join(target, "d/old"), "");
    writeFileSync(join(outside, "file"), "safe");
    symlinkSync(join(outside, "file"), join(target, "f"));
    await unpack(
      archive({ type: "directory", name: "d/" }, { name: "d/new" }, { name: "f", size: 3 }),
    );
    expect(readdirSync(join(target, "d")).sort()).toEqual(["new", "old"]);
    expect(readFileSync(join(target, "f"), "utf8")).toBe("xxx");
    expect(readFileSync(join(outside, "file"), "utf8")).toBe("safe");
  });

  const refusals: [string, Partial<NewTarHeader>[]][] = [
    ["a name with ..", [{ name: "../outside/file" }]],
    ["a name with .. further on", [{ name: "a/../../outside/file" }]],
    [
      "a file below a symbolic link of the archive",
      [{ type: "symlink", name: "way", linkname: "../outside" }, { name: "way/file" }],
    ],
    [
      "a directory below one",
      [
        { type: "symlink", name: "way", linkname: "../outside" },
        { type: "directory", name: "way/made/" },
      ],
    ],
    [
      "a directory that becomes a symbolic link",
      [
        { type: "directory", name: "way/" },
        { type: "symlink", name: "way", linkname: "../outside" },
        { name: "way/file" },
      ],
    ],
    ["a hard link to a file outside", [{ type: "link", name: "l", linkname: "../outside/secret" }]],
    [
      "a hard link through a symbolic link",
      [
        { type: "symlink", name: "way", linkname: "../outside" },
        { type: "link", name: "l", linkname: "way/secret" },
      ],
    ],
    ["a hard link to an absolute name", [{ type: "link", name: "l", linkname: "/outside/secret" }]],
    ["a name that is too long", [{ name: "d/".repeat(3000) }]],
    ["a name with a NUL", [{ type: "link", name: "l", linkname: `${"x".repeat(100)}\0` }]],
    ["a file in the place of a directory", [{ type: "directory", name: "d/" }, { name: "d" }]],
    ["a directory in the place of a file", [{ name: "d" }, { type: "directory", name: "d/" }]],
  ];
  test.each(refusals)("refuses %s", async (_what, entries) => {
    writeFileSync(join(outside, "secret"), "secret");
    await expect(unpack(archive(...entries))).rejects.toBeInstanceOf(SupermachineError);
    expect(readdirSync(outside)).toEqual(["secret"]);
    expect(existsSync(join(target, "l"))).toBe(false);
  });

  test("follows no link that was there before", async () => {
    symlinkSync(outside, join(target, "way"));
    const unpacked = unpack(archive({ name: "way/file" }));
    await expect(unpacked).rejects.toMatchObject({ code: "ERR_COPY_ARCHIVE" });
    expect(readdirSync(outside)).toEqual([]);
    expect(readlinkSync(join(target, "way"))).toBe(outside);
  });

  test("leaves the directory through no link that is put there meanwhile", async () => {
    const entries = [{ name: "way/one" }, { name: "way/two" }, { name: "way/in/three" }];
    async function* swapping() {
      yield archive(entries[0] ?? {}).subarray(0, 512);
      // A header is asked for when the file before it has been made.
      yield Buffer.alloc(0);
      renameSync(join(target, "way"), join(target, "moved"));
      symlinkSync(outside, join(target, "way"));
      yield archive(...entries.slice(1));
    }
    const unpacked = unpackToHost(swapping(), target);
    await expect(unpacked).rejects.toMatchObject({ code: "ERR_COPY_ARCHIVE" });
    expect(readdirSync(join(target, "moved"))).toEqual(["one", "two"]);
    expect(readdirSync(outside)).toEqual([]);
  });

  test("takes absolute names as below the directory", async () => {
    await unpack(archive({ name: "/etc/passwd", size: 1 }));
    expect(readdirSync(join(target, "etc"))).toEqual(["passwd"]);
  });

  test("makes no devices and FIFOs, and says so", async () => {
    const skipped: string[] = [];
    await unpack(
      archive(
        { type: "character-device", name: "null" },
        { type: "block-device", name: "sda" },
        { type: "fifo", name: "fifo" },
        { name: "file" },
      ),
      { onSkipped: (path, type) => skipped.push(`${path} ${type}`) },
    );
    expect(skipped).toEqual(["null character-device", "sda block-device", "fifo fifo"]);
    expect(readdirSync(target)).toEqual(["file"]);
  });

  test("writes nothing beside the one name that was asked for", async () => {
    for (const name of [".bashrc", "other/file"]) {
      const unpacked = unpack(archive({ name: "asked/file" }, { name }), { root: "asked" });
      await expect(unpacked).rejects.toMatchObject({ code: "ERR_COPY_ARCHIVE" });
      expect(readdirSync(target)).toEqual(["asked"]);
    }
  });

  test("removes a file that is cut short, and passes on why the archive ended", async () => {
    const bytes = archive({ name: "file", size: 100_000 });
    const cut = unpack(bytes.subarray(0, 50_000));
    await expect(cut).rejects.toMatchObject({ code: "ERR_COPY_ARCHIVE" });
    async function* failing() {
      yield bytes.subarray(0, 50_000);
      throw new RangeError("the machine is gone");
    }
    await expect(unpackToHost(failing(), target)).rejects.toThrow("the machine is gone");
    expect(readdirSync(target)).toEqual([]);
  });

  test("says when the directory is not there", async () => {
    rmSync(target, { recursive: true });
    await expect(unpack(archive())).rejects.toMatchObject({
      code: "ERR_COPY_HOST",
      message: expect.stringContaining("ENOENT"),
    });
  });

  test("stays in the directory and fails only with typed errors, whatever the archive says", async () => {
    const part = fc.constantFrom("a", "b", "..", ".", "", "c\0d", "\udcff", "outside");
    const name = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/"));
    const entry = fc.record({
      type: fc.constantFrom("file", "link", "symlink", "directory", "fifo"),
      name,
      linkname: fc.oneof(name, fc.constant("../outside"), fc.constant("/")),
      size: fc.nat(600),
      mode: fc.nat(0o7777),
    }) as fc.Arbitrary<Partial<NewTarHeader>>;
    const damage = fc.option(fc.tuple(fc.nat(), fc.nat(255)));
    await fc.assert(
      fc.asyncProperty(fc.array(entry, { maxLength: 8 }), damage, async (entries, change) => {
        const bytes = archive(
          ...entries.map((e) => (e.type === "file" ? { ...e, linkname: "" } : { ...e, size: 0 })),
        );
        if (change) bytes[change[0] % bytes.length] = change[1];
        try {
          await unpack(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(SupermachineError);
        }
        expect(readdirSync(outside)).toEqual([]);
        expect(readdirSync(temporary.path).sort()).toEqual(["outside", "source", "target"]);
        execFileSync("rm", ["-rf", target]);
        mkdirSync(target);
      }),
      { numRuns: runs(150) },
    );
  });
});
