// What a million nodes take, and how fast they are found and used with 1,024 fds. Needs a build.
// Run: bash -c 'ulimit -n 1024; node --expose-gc bench/inodes.mjs [inodes] [directory] [prefer|never]'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { AttrReply, EntryReply, OpenReply } from "@supermachine/fuse-server";
import { PosixBackend } from "../dist/index.js";

const inodes = Number(process.argv[2] ?? 1_000_000);
const directory = mkdtempSync(join(process.argv[3] ?? tmpdir(), "inodes-bench-"));
const inodeFileHandles = process.argv[4] ?? "prefer";
const FILES_PER_DIRECTORY = 1000;
const ctx = { uid: 0, gid: 0, pid: 1, unique: 1n, lockOwner: 0n };

function print(what, value) {
  process.stdout.write(`${what.padEnd(44)} ${value}\n`);
}

function residentBytes() {
  globalThis.gc?.();
  const status = readFileSync("/proc/self/status", "latin1");
  return Number(/^VmRSS:\s*(\d+)/m.exec(status)?.[1]) * 1024;
}

/** Runs `operation` for each of `count` numbers and prints the rate. */
function measure(what, count, operation) {
  const start = process.hrtime.bigint();
  for (let i = 0; i < count; i++) {
    const result = operation(i);
    if (result < 0) throw new Error(`${what} ${i}: errno ${-result}`);
  }
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  print(what, `${(count / seconds / 1000).toFixed(0)} k/s`);
}

const directories = Math.ceil(inodes / FILES_PER_DIRECTORY);
for (let d = 0; d < directories; d++) {
  mkdirSync(join(directory, `d${d}`));
  for (let f = 0; f < FILES_PER_DIRECTORY; f++) {
    closeSync(openSync(join(directory, `d${d}`, `f${f}`), "w"));
  }
}
const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1];
print("machine", `${cpus()[0]?.model}, Node.js ${process.version}, ${limit} fds`);

const backend = new PosixBackend(directory, { inodeFileHandles });
const entry = new EntryReply();
const attr = new AttrReply();
const opened = new OpenReply();
const parents = [];
for (let d = 0; d < directories; d++) {
  if (backend.lookup(ctx, 1, `d${d}`, entry) < 0) throw new Error("lookup of a directory");
  parents.push(entry.nodeid);
}
const count = directories * FILES_PER_DIRECTORY;
const nodeids = new Float64Array(count).fill(1);
const before = residentBytes();
measure("lookup, unknown node", count, (i) => {
  const parent = parents[Math.floor(i / FILES_PER_DIRECTORY)];
  const result = backend.lookup(ctx, parent, `f${i % FILES_PER_DIRECTORY}`, entry);
  nodeids[i] = entry.nodeid;
  return result;
});
const held = residentBytes() - before;
print("nodes", backend.inodeCount);
print("resident bytes per node", (held / count).toFixed(1));

const sample = Math.min(count, 100_000);
// A stride that is prime to the count visits nodes in no order that a cache likes.
const some = (i) => (i * 7919) % count;
measure("lookup, known node without an fd", sample, (i) => {
  const parent = parents[Math.floor(some(i) / FILES_PER_DIRECTORY)];
  return backend.lookup(ctx, parent, `f${some(i) % FILES_PER_DIRECTORY}`, entry);
});
measure("getattr, node without an fd", sample, (i) =>
  backend.getattr(ctx, nodeids[some(i)], undefined, attr),
);
measure("getattr, node with an fd", sample, (i) =>
  backend.getattr(ctx, nodeids[i % 100], undefined, attr),
);
measure("open and release, node without an fd", sample, (i) => {
  const result = backend.open(ctx, nodeids[some(i)], 0, opened, 0);
  void backend.release(ctx, nodeids[some(i)], opened.fh);
  return result;
});
measure("unlink", Math.min(sample, FILES_PER_DIRECTORY), (i) =>
  backend.unlink(ctx, parents[0], `f${i}`),
);
measure("forget", count, (i) => {
  backend.forget(nodeids[i], 1000);
  return 0;
});
print("nodes", backend.inodeCount);
print("resident bytes per node after forget", ((residentBytes() - before) / count).toFixed(1));
backend.close();
rmSync(directory, { recursive: true });
