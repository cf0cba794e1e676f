import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { extract } from "tar-stream";
import { expect, it } from "vitest";
import { TAR_BLOCK } from "./header.js";
import { readTar } from "./reader.js";
import { encodeTarHeader, type NewTarHeader } from "./writer.js";

const segment = fc.oneof(
  fc.stringMatching(/^[a-zA-Zé\u{1f4a9} ._-]{1,60}$/u),
  fc.constantFrom("caf\udce9", "x".repeat(99), "x".repeat(101), "y".repeat(255)),
);
const name = fc
  .array(segment, { minLength: 1, maxLength: 5 })
  .map((parts) => parts.join("/"))
  .filter((text) => !text.endsWith("/"));
const id = fc.oneof(fc.nat(70000), fc.nat(0xffff_fffe));
const entry: fc.Arbitrary<NewTarHeader> = fc
  .record({
    type: fc.constantFrom("file", "link", "symlink", "directory", "fifo"),
    name,
    linkname: name,
    mode: fc.nat(0o7777),
    uid: id,
    gid: id,
    size: fc.oneof(fc.nat(100_000), fc.constant(2 ** 40)),
    mtime: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
  })
  .map((given) => ({
    ...given,
    size: given.type === "file" ? given.size : 0,
    linkname: given.type === "link" || given.type === "symlink" ? given.linkname : "",
  })) as fc.Arbitrary<NewTarHeader>;

it("writes headers that are read as they were meant", async () => {
  await fc.assert(
    fc.asyncProperty(entry, async (header) => {
      const blocks = encodeTarHeader(header);
      expect(blocks.length % TAR_BLOCK).toBe(0);
      for await (const read of readTar(chunks(blocks))) {
        expect(read.header).toMatchObject(header);
        return;
      }
      throw new Error("no entry was read");
    }),
    { numRuns: runs(1000) },
  );
});

it("writes headers that tar-stream reads, too", async () => {
  const header: NewTarHeader = {
    type: "file",
    name: `${"directory/".repeat(12)}näme`,
    linkname: "",
    mode: 0o640,
    uid: 4_000_000,
    gid: 7,
    size: 0,
    mtime: 1_700_000_000,
  };
  const unpacking = extract();
  unpacking.end(Buffer.concat([encodeTarHeader(header), Buffer.alloc(2 * TAR_BLOCK)]));
  const found = [];
  for await (const { header: read } of unpacking) found.push(read);
  expect(found).toMatchObject([
    { name: header.name, mode: 0o640, gid: 7, size: 0, mtime: new Date(1.7e12), type: "file" },
  ]);
});

async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
