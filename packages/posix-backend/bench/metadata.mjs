// Operations per second of the backend alone, called as the dispatcher calls it, beside node:fs on the same
// files. Needs a build (npx tsup here and in ../fuse-server). Run: node bench/metadata.mjs [directory]
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { AttrReply, EntryReply, OpenReply } from "@supermachine/fuse-server";
import { PosixBackend } from "../dist/index.js";

const directory = mkdtempSync(join(process.argv[2] ?? tmpdir(), "posix-bench-"));
const FILES = 2000;
const names = Array.from({ length: FILES }, (_, i) => `file-${i}`);
for (const name of names) writeFileSync(join(directory, name), "x".repeat(4096));
const paths = names.map((name) => join(directory, name));

const backend = new PosixBackend(directory);
const ctx = { uid: 0, gid: 0, pid: 0, unique: 0n, lockOwner: 0n, supplementaryGroup: undefined };
const entry = new EntryReply();
const attr = new AttrReply();
const opened = new OpenReply();

function measure(what, operation, rounds = 20) {
  let best = 0;
  for (let repeat = 0; repeat < 5; repeat++) {
    const start = process.hrtime.bigint();
    for (let round = 0; round < rounds; round++) for (let i = 0; i < FILES; i++) operation(i);
    const seconds = Number(process.hrtime.bigint() - start) / 1e9;
    best = Math.max(best, (rounds * FILES) / seconds);
  }
  process.stdout.write(`${what.padEnd(36)} ${Math.round(best / 1000)} k/s\n`);
}

process.stdout.write(`${cpus()[0]?.model}, Node.js ${process.version}, ${directory}\n`);
measure("node:fs statSync", (i) => statSync(paths[i]));
measure("lookup and forget, unknown node", (i) => {
  backend.lookup(ctx, 1, names[i], entry);
  backend.forget(entry.nodeid, 1);
});
const nodes = names.map((name) => {
  backend.lookup(ctx, 1, name, entry);
  return entry.nodeid;
});
measure("lookup, known node", (i) => backend.lookup(ctx, 1, names[i], entry));
measure("lookup of an absent name", () => backend.lookup(ctx, 1, "absent", entry));
measure("getattr", (i) => backend.getattr(ctx, nodes[i], undefined, attr));
measure("lookup and getattr", (i) => {
  backend.lookup(ctx, 1, names[i], entry);
  backend.getattr(ctx, entry.nodeid, undefined, attr);
});
const page = [new Uint8Array(4096)];
measure("open, read 4 KiB, release", (i) => {
  backend.open(ctx, nodes[i], 0, opened, 0);
  void backend.read(ctx, nodes[i], opened.fh, 0, page);
  void backend.release(ctx, nodes[i], opened.fh);
});
backend.open(ctx, nodes[0], 0, opened, 0);
const memory = new Uint8Array(1 << 16);
const pages = Array.from({ length: 16 }, (_, i) => memory.subarray(i * 4096, (i + 1) * 4096));
measure("read 4 KiB", () => backend.read(ctx, nodes[0], opened.fh, 0, page));
measure("read into 16 buffers", () => backend.read(ctx, nodes[0], opened.fh, 0, pages));
backend.close();
rmSync(directory, { recursive: true });
