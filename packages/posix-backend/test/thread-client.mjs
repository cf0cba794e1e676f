// A thread that does what the client's kernel does, on nodes that other threads use as well.
import { parentPort, workerData } from "node:worker_threads";
import { AttrReply, EntryReply, OpenReply } from "@supermachine/fuse-server";
import { createBackend } from "../dist/thread.js";

const { data, names, rounds } = workerData;
const ctx = { uid: 0, gid: 0, pid: 1, unique: 1n, lockOwner: 0n };
const backend = createBackend(data);
const entry = new EntryReply();
const opened = new OpenReply();
const attr = new AttrReply();
const page = Buffer.alloc(64);

function succeed(result, what) {
  if (result < 0) throw new Error(`${what}: ${result}`);
  return result;
}

let operations = 0;
for (let round = 0; round < rounds; round++) {
  for (const name of names) {
    succeed(backend.lookup(ctx, 1, name, entry), "lookup");
    const { nodeid } = entry;
    succeed(backend.getattr(ctx, nodeid, undefined, attr), "getattr");
    if (attr.attr.ino !== entry.attr.ino) throw new Error("another inode");
    succeed(backend.open(ctx, nodeid, 0, opened, 0), "open");
    const length = succeed(backend.read(ctx, nodeid, opened.fh, 0, [page]), "read");
    if (page.toString("utf8", 0, length) !== name) throw new Error(`${name} holds something else`);
    await backend.release(ctx, nodeid, opened.fh);
    backend.forget(nodeid, 1);
    operations += 6;
  }
}
backend[Symbol.dispose]();
parentPort.postMessage(operations);
