import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireFacility, runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ErofsError, ErofsReader, ErofsWriter, writeErofs } from "../src/index.js";
import { MemoryImage } from "./memory-image.js";
import { type Sample, sample } from "./tree-arbitrary.js";
import { listImage, listTree } from "./tree-listing.js";

// Shrinking large trees takes minutes and helps little; the seed in the message repeats the failure.
const run = (count: number) => ({ numRuns: runs(count), endOnFailure: true });

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "erofs-test-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function imageOf({ root, contents }: Sample): Promise<MemoryImage> {
  const image = new MemoryImage();
  const content = (file: Parameters<typeof contents.get>[0]) =>
    contents.get(file) ?? new Uint8Array(0);
  const { size } = await writeErofs(root, image, { content });
  expect(image.size).toBe(size);
  return image;
}

test("any tree reads back as it was written", async () => {
  await fc.assert(
    fc.asyncProperty(sample, async (tree) => {
      const image = await imageOf(tree);
      const listed = await listImage(await ErofsReader.open(image));
      expect(listed).toEqual(
        listTree(tree.root, (file) => tree.contents.get(file) ?? new Uint8Array(0)),
      );
    }),
    run(150),
  );
});

requireFacility("program:fsck.erofs").test(
  "fsck.erofs finds nothing wrong with any tree",
  async () => {
    const path = join(directory, "fsck.erofs");
    await fc.assert(
      fc.asyncProperty(sample, async (tree) => {
        const image = await imageOf(tree);
        writeFileSync(path, image.bytes);
        execFileSync("fsck.erofs", ["--extract", path], { stdio: "pipe" });
      }),
      run(60),
    );
  },
);

test("the order in which content comes leaves no trace, nor does the size of its parts", async () => {
  await fc.assert(
    fc.asyncProperty(sample, fc.integer({ min: 1, max: 5000 }), async (tree, step) => {
      const image = new MemoryImage();
      const writer = new ErofsWriter(tree.root, image);
      for (const file of [...writer.missingFiles].reverse()) {
        const bytes = tree.contents.get(file) ?? new Uint8Array(0);
        const parts = Array.from({ length: Math.ceil(bytes.length / step) }, (_, index) =>
          bytes.subarray(index * step, (index + 1) * step),
        );
        await writer.writeFile(file, parts);
      }
      await writer.finish();
      const straight = await imageOf(tree);
      expect(Buffer.compare(image.bytes, straight.bytes)).toBe(0);
    }),
    run(40),
  );
});

test("a damaged image gives correct data or an ErofsError, never another failure", async () => {
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(
      sample,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 20 }),
      fc.boolean(),
      async (tree, damage, cut) => {
        const image = await imageOf(tree);
        for (const [where, value] of damage) {
          // The superblock stays, or its checksum would hide all that is behind it.
          const position = 1152 + (where % Math.min(image.size - 1152, 20_000));
          image.bytes[position] = value;
        }
        const superBlock = image.bytes.subarray(1024);
        superBlock[8] = 0;
        const damaged = cut ? MemoryImage.of(image.bytes.subarray(0, image.size / 2)) : image;
        try {
          await listImage(await ErofsReader.open(damaged), 500);
        } catch (error) {
          if (!(error instanceof ErofsError)) throw error;
          refused++;
        }
      },
    ),
    run(200),
  );
  expect(refused).toBeGreaterThan(0);
});

test("reading changes nothing in the buffer an image is in", async () => {
  const [tree] = fc.sample(sample, 1);
  if (tree === undefined) throw new Error("no sample");
  const buffer = Buffer.from((await imageOf(tree)).bytes);
  const input = {
    size: buffer.length,
    read: (at: number, length: number) => buffer.subarray(at, at + length),
  };
  const before = Buffer.from(buffer);
  await listImage(await ErofsReader.open(input));
  expect(buffer.equals(before)).toBe(true);
});

test("any bytes at all are refused with an ErofsError", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 5000 }), async (bytes) => {
      await expect(ErofsReader.open(MemoryImage.of(bytes))).rejects.toThrow(ErofsError);
    }),
  );
});

requireFacility("program:mkfs.erofs", "program:setfattr").test(
  "mkfs.erofs images without compression are read",
  async () => {
    const source = mkdtempSync(join(directory, "source-"));
    writeFileSync(join(source, "large"), Buffer.alloc(10_000, 7));
    writeFileSync(join(source, "small"), "hello");
    const names = ["large", "small", "user.note", "security.note"];
    for (const name of names.slice(2)) {
      execFileSync("setfattr", ["-n", name, "-v", "value", join(source, "small")]);
      execFileSync("setfattr", ["-n", name, "-v", "value", join(source, "large")]);
    }
    const path = join(directory, "mkfs.erofs");
    execFileSync("mkfs.erofs", ["-x1", path, source], { stdio: "pipe" });
    const reader = await ErofsReader.open(MemoryImage.of(readFileSync(path)));
    const large = await reader.resolve("/large");
    const small = await reader.resolve("small");
    if (!large || !small) throw new Error("a file is missing");
    expect(await reader.readFile(large, 9_990, 100)).toEqual(new Uint8Array(10).fill(7));
    expect(Buffer.from(await reader.readFile(small)).toString()).toBe("hello");
    expect([...(await reader.xattrs(small)).keys()].sort()).toEqual(["security.note", "user.note"]);
  },
);
