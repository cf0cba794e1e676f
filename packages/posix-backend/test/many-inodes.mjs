// Looks up far more inodes than this process may have fds, and uses some of each. The files are as many as
// the first argument says, each holding its own path.
import { mkdirSync, readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AttrReply, EntryReply, OpenReply } from "@supermachine/fuse-server";
import { PosixBackend } from "../dist/index.js";

const [directory, inodes, inodeFileHandles] = process.argv.slice(2);
const FILES = 500;
const directories = Math.ceil(Number(inodes) / FILES);
const ctx = { uid: 0, gid: 0, pid: 1, unique: 1n, lockOwner: 0n };
const pathOf = (i) =>
  join(`d${Math.floor(i / FILES)}`, `file-with-a-rather-long-name-${i % FILES}`);
const nameOf = (i) => pathOf(i).split("/")[1];

for (let i = 0; i < directories * FILES; i++) {
  if (i % FILES === 0) mkdirSync(join(directory, `d${i / FILES}`));
  writeFileSync(join(directory, pathOf(i)), i % 100 === 0 ? pathOf(i) : "");
}

const backend = new PosixBackend(directory, { inodeFileHandles });
const entry = new EntryReply();
const attr = new AttrReply();
const opened = new OpenReply();
const page = Buffer.alloc(256);

function succeed(result, what) {
  if (result < 0) throw new Error(`${what}: errno ${-result}`);
  return result;
}

const parents = [];
const nodeids = [];
for (let i = 0; i < directories * FILES; i++) {
  if (i % FILES === 0) {
    succeed(backend.lookup(ctx, 1, `d${i / FILES}`, entry), "lookup of a directory");
    parents.push(entry.nodeid);
  }
  succeed(backend.lookup(ctx, parents.at(-1), nameOf(i), entry), "lookup");
  nodeids.push(entry.nodeid);
}

/** A file of each hundred, and what must hold for its node. */
function useSome(pathNow) {
  for (let i = 0; i < nodeids.length; i += 100) {
    succeed(backend.getattr(ctx, nodeids[i], undefined, attr), "getattr");
    const host = statSync(join(directory, pathNow(i)));
    if (attr.attr.ino !== host.ino) throw new Error(`node ${nodeids[i]} is another inode`);
    succeed(backend.open(ctx, nodeids[i], 0, opened, 0), "open");
    const length = succeed(backend.read(ctx, nodeids[i], opened.fh, 0, [page]), "read");
    if (page.toString("utf8", 0, length) !== pathOf(i)) throw new Error("other contents");
    succeed(backend.release(ctx, nodeids[i], opened.fh), "release");
  }
}

useSome(pathOf);
// The client moves files, and the host a directory in which some are: nodes stay what they are.
for (let i = 0; i < nodeids.length; i += 100) {
  const parent = parents[Math.floor(i / FILES)];
  succeed(backend.rename(ctx, parent, nameOf(i), parent, `moved-${i}`, 0), "rename");
}
renameSync(join(directory, "d0"), join(directory, "e0"));
const moved = (i) => join(i < FILES ? "e0" : `d${Math.floor(i / FILES)}`, `moved-${i}`);
useSome(moved);

const fds = readdirSync("/proc/self/fd").length;
for (let i = 0; i < nodeids.length; i += 100) {
  succeed(backend.unlink(ctx, parents[Math.floor(i / FILES)], `moved-${i}`), "unlink");
}
const nodes = backend.inodeCount;
for (const nodeid of [...nodeids, ...parents]) backend.forget(nodeid, 1);
process.stdout.write(JSON.stringify({ nodes, fds, left: backend.inodeCount }));
backend.close();
