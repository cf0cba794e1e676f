import { execFileSync } from "node:child_process";
import {
  closeSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireFacility, runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterAll, beforeAll, expect } from "vitest";
import { decodeName, type ErofsFile, encodeName, writeErofs } from "../src/index.js";
import { MemoryImage } from "./memory-image.js";
import { sample } from "./tree-arbitrary.js";
import { type Listed, listTree } from "./tree-listing.js";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "erofs-mount-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const { test } = requireFacility("erofs");

const typeOf = (format: number) =>
  ({
    1: "fifo",
    2: "character-device",
    4: "directory",
    6: "block-device",
    8: "file",
    10: "symlink",
    12: "socket",
  })[format];

/** Lists what the kernel shows; xattrs come from getfattr, in one run for all paths. */
function listMount(root: string): Map<string, Listed> {
  const listing = new Map<string, Listed>();
  const first = new Map<number, string>();
  const paths: string[] = [];
  const bytesOf = (path: string) => Buffer.concat([Buffer.from(root), encodeName(path)]);
  const visit = (path: string) => {
    paths.push(path);
    if (!lstatSync(bytesOf(path)).isDirectory()) return;
    for (const name of readdirSync(bytesOf(path), { encoding: "buffer" })) {
      visit(`${path}/${decodeName(name)}`);
    }
  };
  visit("");
  paths.sort((a, b) => (a < b ? -1 : 1));
  for (const path of paths) {
    const stat = lstatSync(bytesOf(path), { bigint: true });
    const type = typeOf(Number(stat.mode) >> 12) ?? "?";
    const ino = Number(stat.ino);
    if (!first.has(ino)) first.set(ino, path);
    let content = "";
    if (type === "file") content = readFileSync(bytesOf(path)).toString("hex");
    if (type === "symlink")
      content = decodeName(readlinkSync(bytesOf(path), { encoding: "buffer" }));
    if (type.endsWith("device")) {
      const device = Number(stat.rdev);
      content = `${(device >> 8) & 0xfff}:${(device & 0xff) | ((device >> 12) & 0xfff00)}`;
    }
    const seconds =
      stat.mtimeNs >= 0n
        ? stat.mtimeNs / 1_000_000_000n
        : (stat.mtimeNs - 999_999_999n) / 1_000_000_000n;
    listing.set(path, {
      type,
      mode: Number(stat.mode) & 0o7777,
      uid: Number(stat.uid),
      gid: Number(stat.gid),
      mtime: Number(seconds),
      mtimeNsec: Number(stat.mtimeNs - seconds * 1_000_000_000n),
      nlink: Number(stat.nlink),
      xattrs: {},
      content,
      sameAs: first.get(ino) ?? path,
    });
  }
  return listing;
}

async function withMount(image: MemoryImage, use: (root: string) => void): Promise<void> {
  const path = join(directory, "image.erofs");
  const root = join(directory, "root");
  writeFileSync(path, image.bytes);
  mkdirSync(root, { recursive: true });
  execFileSync("mount", ["-t", "erofs", "-o", "loop,ro", path, root]);
  try {
    use(root);
  } finally {
    execFileSync("umount", [root]);
  }
}

test("the kernel shows any tree as it was written", async () => {
  await fc.assert(
    fc.asyncProperty(sample, async ({ root, contents }) => {
      const contentOf = (file: ErofsFile) => contents.get(file) ?? new Uint8Array(0);
      const image = new MemoryImage();
      await writeErofs(root, image, { content: contentOf });
      // Extended attributes have a test of their own; here the kernel would check ACLs for sense.
      const expected = [...listTree(root, contentOf)].map(
        ([path, listed]) => [path, { ...listed, xattrs: {} }] as const,
      );
      await withMount(image, (mounted) => {
        expect(listMount(mounted)).toEqual(new Map(expected));
      });
    }),
    { numRuns: runs(25), endOnFailure: true },
  );
});

requireFacility("erofs", "program:getfattr").test(
  "the kernel finds every name of a large directory, and its extended attributes and content",
  async () => {
    const common = { mode: 0o644, uid: 0, gid: 0, mtime: 1 };
    const acl = Buffer.from(
      "0200000001000600ffffffff04000400ffffffff10000600ffffffff20000400ffffffff02000700e8030000",
      "hex",
    );
    const sortedAcl = Buffer.concat([acl.subarray(0, 12), acl.subarray(36), acl.subarray(12, 36)]);
    const xattrs = new Map<string, Uint8Array>([
      ["user.comment", Buffer.from("any bytes \0\xff", "latin1")],
      ["user.long", new Uint8Array(9000).fill(65)],
      ["trusted.overlay.opaque", Buffer.from("y")],
      ["security.capability", Buffer.from("0100000200200000000000000000000000000000", "hex")],
      ["system.posix_acl_access", sortedAcl],
    ]);
    const names = Array.from(
      { length: 3000 },
      (_, index) => `entry-${index * 7919}-${"x".repeat(index % 60)}`,
    );
    const large: ErofsFile = { ...common, type: "file", size: 3_000_001, xattrs };
    const entries = new Map<string, ErofsFile>(
      names.map((name) => [name, { ...common, type: "file", size: 0 }]),
    );
    entries.set("large", large);
    const image = new MemoryImage();
    const pattern = Buffer.alloc(large.size, "0123456789abcdef!");
    const { size } = await writeErofs(
      { ...common, mode: 0o755, type: "directory", entries },
      image,
      {
        content: () => pattern,
      },
    );
    expect(size % 4096).toBe(0);
    await withMount(image, (root) => {
      for (const name of names) expect(lstatSync(join(root, name)).size).toBe(0);
      expect(() => lstatSync(join(root, "entry-1"))).toThrow("ENOENT");
      expect(readdirSync(root).length).toBe(3001);
      expect(readFileSync(join(root, "large")).equals(pattern)).toBe(true);
      const shown = execFileSync(
        "getfattr",
        ["-d", "-m", "-", "-e", "hex", "--absolute-names", join(root, "large")],
        { encoding: "utf8" },
      );
      for (const [name, value] of xattrs)
        expect(shown).toContain(`${name}=0x${Buffer.from(value).toString("hex")}\n`);
      const fd = openSync(join(root, "large"), "r");
      const end = Buffer.alloc(10);
      expect(readSync(fd, end, 0, 10, 2_999_996)).toBe(5);
      closeSync(fd);
    });
  },
);
