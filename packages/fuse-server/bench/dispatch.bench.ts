import {
  FUSE_GETATTR,
  FUSE_LOOKUP,
  FUSE_READ,
  fuse_getattr_in,
  fuse_read_in,
} from "@supermachine/fuse-protocol";
import { bench, describe } from "vitest";
import { FuseClient, MemoryFs, RequestWriter, Session, type SessionOptions } from "../src/index.js";
import { directChannel } from "../test/direct-channel.js";

const backend = new MemoryFs();
const setUp = new Session(backend, { sharedBackend: true });
const client = new FuseClient(directChannel(setUp));
await client.init();
const { entry } = await client.create(1, "file");
await client.write(entry.nodeid, 0, 0, new Uint8Array(65536));

const readFields = { fh: 0n, offset: 0n, read_flags: 0, lock_owner: 0n, flags: 0, padding: 0 };
const requests: Record<string, Uint8Array> = {
  GETATTR: new RequestWriter()
    .struct(fuse_getattr_in, { getattr_flags: 0, dummy: 0, fh: 0n })
    .finish(FUSE_GETATTR, 2n, 1),
  LOOKUP: new RequestWriter().name("file").finish(FUSE_LOOKUP, 4n, 1),
  "LOOKUP, absent": new RequestWriter().name("absent").finish(FUSE_LOOKUP, 4n, 1),
  "READ 4 KiB": new RequestWriter()
    .struct(fuse_read_in, { ...readFields, size: 4096 })
    .finish(FUSE_READ, 2n, entry.nodeid),
};
const ignore = () => {};

function connected(options: SessionOptions): Session {
  const session = new Session(backend, options);
  if (setUp.info !== undefined) session.adopt(setUp.info);
  return session;
}

describe("Session.handle over MemoryFs, buffers as virtio-fs has them", () => {
  const session = connected({});
  const output = [new Uint8Array(16), new Uint8Array(4096)];
  for (const [name, message] of Object.entries(requests)) {
    const input = [message.subarray(0, 40), message.subarray(40)];
    bench(name, () => session.handle(input, output, ignore));
  }
});

describe("Session.handle over MemoryFs, buffers as /dev/fuse has them", () => {
  const session = connected({ privateBuffers: true });
  const output = [new Uint8Array(8192)];
  for (const [name, message] of Object.entries(requests)) {
    const buffer = new Uint8Array(8192);
    buffer.set(message);
    const input = [buffer];
    bench(name, () => session.handle(input, output, ignore));
  }
});
