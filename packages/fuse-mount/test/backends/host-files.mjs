// A backend over the files of one host directory, without subdirectories: small enough to see through,
// with all that passthrough needs. In JavaScript, because threads of Node.js 20 run nothing else.
import fs from "node:fs";
import path from "node:path";

const S_IFDIR = 0o040000;
const FATTR_SIZE = 1 << 3;
const ENOENT = 2;

/** @param {{ root: string, passthrough?: boolean, log?: SharedArrayBuffer }} data */
export function createBackend({ root, passthrough = true, log = new SharedArrayBuffer(8) }) {
  /** Reads and writes that reach this backend: index 0 and 1. */
  const counts = new Int32Array(log);
  // Node ids are inode numbers, so that every thread knows them; the root is 1. Too simple where files
  // are removed and made again, since inode numbers come back.
  const names = new Map();
  const nameOf = (nodeid) => {
    const known = names.get(nodeid);
    // Other threads remove and make files, too, and inode numbers are used again.
    if (known !== undefined && inodeOf(known) === nodeid) return path.join(root, known);
    return path.join(root, fs.readdirSync(root).find((name) => inodeOf(name) === nodeid) ?? "?");
  };
  const inodeOf = (name) => fs.lstatSync(path.join(root, name), { throwIfNoEntry: false })?.ino;
  const know = (name) => {
    const found = fs.lstatSync(path.join(root, name));
    names.set(found.ino, name);
    return found;
  };
  const stat = (nodeid, fh) => {
    if (fh !== undefined) return fs.fstatSync(fh);
    const named = fs.lstatSync(nameOf(nodeid), { throwIfNoEntry: false });
    return named ?? fs.fstatSync(openFiles.get(nodeid));
  };
  const guarded = (step) => {
    try {
      return step();
    } catch (error) {
      return error.errno ?? -5;
    }
  };
  const fill = (attr, stat) => {
    for (const field of ["ino", "size", "blocks", "mode", "nlink", "uid", "gid"])
      attr[field] = stat[field];
    attr.mtime = Math.floor(stat.mtimeMs / 1000);
  };
  /** Some open file of a node, whose name may be gone. */
  const openFiles = new Map();
  const opened = (nodeid, fd, reply) => {
    openFiles.set(nodeid, fd);
    reply.fh = fd;
    if (passthrough) reply.passthroughFd = fd;
    return 0;
  };
  return {
    lookup: (_ctx, _parent, name, reply) =>
      guarded(() => {
        const stat = know(name);
        reply.nodeid = stat.ino;
        fill(reply.attr, stat);
        return 0;
      }),
    getattr: (_ctx, nodeid, fh, reply) =>
      guarded(() => {
        if (nodeid === 1) Object.assign(reply.attr, { ino: 1, mode: S_IFDIR | 0o755, nlink: 2 });
        else fill(reply.attr, stat(nodeid, fh));
        return 0;
      }),
    setattr: (_ctx, nodeid, _fh, request, reply) =>
      guarded(() => {
        const name = nameOf(nodeid);
        if (request.valid & FATTR_SIZE) fs.truncateSync(name, request.size);
        fill(reply.attr, stat(nodeid));
        return 0;
      }),
    open: (_ctx, nodeid, flags, reply) =>
      guarded(() => opened(nodeid, fs.openSync(nameOf(nodeid), flags & 0o1003), reply)),
    create: (_ctx, _parent, name, mode, _umask, _flags, reply, open) =>
      guarded(() => {
        const fd = fs.openSync(path.join(root, name), "w+", mode);
        const stat = know(name);
        reply.nodeid = stat.ino;
        fill(reply.attr, stat);
        return opened(stat.ino, fd, open);
      }),
    read: (_ctx, _nodeid, fh, offset, [buffer]) =>
      guarded(() => {
        Atomics.add(counts, 0, 1);
        return fs.readSync(fh, buffer, 0, buffer.length, offset);
      }),
    write: (_ctx, _nodeid, fh, offset, buffers) =>
      guarded(() => {
        Atomics.add(counts, 1, 1);
        return fs.writevSync(fh, buffers, offset);
      }),
    release: (_ctx, nodeid, fh) =>
      guarded(() => {
        if (openFiles.get(nodeid) === fh) openFiles.delete(nodeid);
        fs.closeSync(fh);
        return 0;
      }),
    unlink: (_ctx, _parent, name) =>
      guarded(() => {
        if (!fs.existsSync(path.join(root, name))) return -ENOENT;
        fs.unlinkSync(path.join(root, name));
        return 0;
      }),
    readdir: (_ctx, _nodeid, _fh, offset, sink) => {
      const list = fs.readdirSync(root);
      for (let i = offset; i < list.length; i++) {
        if (!sink.add(list[i], fs.lstatSync(path.join(root, list[i])).ino, 0, i + 1)) break;
      }
      return 0;
    },
  };
}
