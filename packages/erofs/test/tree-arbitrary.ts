import fc from "fast-check";
import { decodeName, type ErofsDirectory, type ErofsFile, type ErofsNode } from "../src/index.js";

/** A tree and the content of its files. */
export interface Sample {
  readonly root: ErofsDirectory;
  readonly contents: Map<ErofsFile, Uint8Array>;
}

const name = fc
  .oneof(
    fc.stringMatching(/^[!-.0-~]{1,40}$/),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 20 }),
    fc.uint8Array({ minLength: 1, maxLength: 255 }).map(decodeName),
  )
  .filter((text) => !/[/\0]/.test(text) && text !== "." && text !== "..")
  .filter((text) => Buffer.byteLength(text) <= 255);

const xattrs = fc
  .uniqueArray(
    fc.tuple(
      fc.oneof(
        fc
          .tuple(
            fc.constantFrom("user.", "trusted.", "security."),
            fc.stringMatching(/^[a-z.]{1,30}$/),
          )
          .map(([prefix, suffix]) => prefix + suffix),
        fc.constant("security.capability"),
      ),
      fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.uint8Array({ minLength: 3000, maxLength: 5000 }),
      ),
    ),
    { maxLength: 4, selector: ([key]) => key },
  )
  .map((pairs) => new Map(pairs));

const attributes = fc.record({
  mode: fc.nat(0o7777),
  uid: fc.oneof(fc.nat(0xffff), fc.nat(0xfffffffe)),
  gid: fc.oneof(fc.nat(0xffff), fc.nat(0xfffffffe)),
  mtime: fc.oneof(fc.constant(1_700_000_000), fc.integer({ min: -(2 ** 33), max: 2 ** 34 })),
  mtimeNsec: fc.oneof(fc.constant(0), fc.nat(999_999_999)),
  xattrs: fc.oneof(
    { weight: 3, arbitrary: fc.constant(new Map()) },
    { weight: 1, arbitrary: xattrs },
  ),
});

const size = fc.oneof(
  fc.nat(300),
  fc.constantFrom(0, 1, 4031, 4032, 4033, 4064, 4095, 4096, 4097, 8192),
  fc.nat(20_000),
);

const leaf: fc.Arbitrary<ErofsNode> = fc
  .tuple(
    attributes,
    fc.nat(9),
    size,
    fc.nat(0xfff),
    fc.nat(0xfffff),
    fc.string({ minLength: 1, maxLength: 200 }),
  )
  .map(([common, kind, bytes, major, minor, target]): ErofsNode => {
    if (kind === 0) return { ...common, type: "fifo" };
    if (kind === 1) return { ...common, type: "socket" };
    if (kind === 2) return { ...common, type: "character-device", major, minor };
    if (kind === 3) return { ...common, type: "block-device", major, minor };
    if (kind <= 5) return { ...common, type: "symlink", target: target.replaceAll("\0", "x") };
    return { ...common, type: "file", size: bytes };
  });

const { node } = fc.letrec<{ node: ErofsNode; directory: ErofsDirectory }>((tie) => ({
  node: fc.oneof({ depthSize: "small", withCrossShrink: true }, leaf, tie("directory")),
  directory: fc
    .tuple(
      attributes,
      fc.uniqueArray(fc.tuple(name, tie("node")), { maxLength: 12, selector: ([key]) => key }),
    )
    .map(([common, entries]) => ({ ...common, type: "directory", entries: new Map(entries) })),
}));

/** A repeatable content for a file of `bytes` bytes. */
function fill(bytes: number, seed: number): Uint8Array {
  const content = new Uint8Array(bytes);
  for (let at = 0, state = seed; at < bytes; at++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    content[at] = state >>> 16;
  }
  return content;
}

/** Trees with every kind of file, odd names, large and small content, xattrs and hard links. */
export const sample: fc.Arbitrary<Sample> = fc
  .tuple(
    attributes,
    fc.uniqueArray(fc.tuple(name, node), { maxLength: 30, selector: ([key]) => key }),
    fc.nat(3),
  )
  .map(([common, entries, links]) => {
    const root: ErofsDirectory = { ...common, type: "directory", entries: new Map(entries) };
    const contents = new Map<ErofsFile, Uint8Array>();
    const leaves: ErofsNode[] = [];
    const visit = (directory: ErofsDirectory) => {
      for (const child of directory.entries.values()) {
        if (child.type === "directory") visit(child);
        else leaves.push(child);
        if (child.type === "file") contents.set(child, fill(child.size, contents.size + 1));
      }
    };
    visit(root);
    const linked = new Map(root.entries);
    for (const [index, target] of leaves.slice(0, links).entries())
      linked.set(`link ${index}`, target);
    return { root: { ...root, entries: linked }, contents };
  });
