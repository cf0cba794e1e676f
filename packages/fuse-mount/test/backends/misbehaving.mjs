// A file `patient` whose lookup ends when it is interrupted, one `stuck` whose lookup never ends, one `later` that is found after a while, one `loop` that keeps
// its thread busy for ever, and one `crash` that ends its thread.
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;

/** @param {{ broken?: boolean }} data */
export async function createBackend(data) {
  if (data?.broken) throw new Error("no such database");
  const found = (nodeid, reply) => {
    Object.assign(reply.attr, { ino: nodeid, mode: S_IFREG | 0o644, nlink: 1 });
    reply.nodeid = nodeid;
    return 0;
  };
  return {
    async lookup(ctx, _parent, name, reply) {
      if (name === "patient") {
        await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
        return -4;
      }
      if (name === "stuck") return new Promise(() => {});
      if (name === "loop") for (;;);
      if (name === "crash") setImmediate(() => process.exit(3));
      if (name === "later") await new Promise((resolve) => setTimeout(resolve, 50));
      return name === "later" ? found(2, reply) : -2;
    },
    getattr(_ctx, nodeid, _fh, reply) {
      if (nodeid !== 1) return found(nodeid, reply);
      Object.assign(reply.attr, { ino: 1, mode: S_IFDIR | 0o755, nlink: 2 });
      return 0;
    },
  };
}
