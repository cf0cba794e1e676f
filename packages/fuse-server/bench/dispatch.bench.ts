import {
  FUSE_GETATTR,
  FUSE_LOOKUP,
  FUSE_READ,
  fuse_getattr_in,
  fuse_read_in,
} from "@supermachine/fuse-protocol";
import { bench, describe } from "vitest";
import { FuseClient, MemoryFs, RequestWriter, Session } from "../src/index.js";
import { directChannel } from "../test/direct-channel.js";

const session = new Session(new MemoryFs());
const client = new FuseClient(directChannel(session));
await client.init();
const { entry } = await client.create(1, "file");
await client.write(entry.nodeid, 0, 0, new Uint8Array(65536));

const ignore = () => {};
const cut = (message: Uint8Array) => [message.subarray(0, 40), message.subarray(40)];
const getattr = cut(
  new RequestWriter()
    .struct(fuse_getattr_in, { getattr_flags: 0, dummy: 0, fh: 0n })
    .finish(FUSE_GETATTR, 2n, 1),
);
const lookup = cut(new RequestWriter().name("file").finish(FUSE_LOOKUP, 4n, 1));
const absent = cut(new RequestWriter().name("absent").finish(FUSE_LOOKUP, 4n, 1));
const readFields = { fh: 0n, offset: 0n, read_flags: 0, lock_owner: 0n, flags: 0, padding: 0 };
const read = cut(
  new RequestWriter()
    .struct(fuse_read_in, { ...readFields, size: 4096 })
    .finish(FUSE_READ, 2n, entry.nodeid),
);
const header = new Uint8Array(16);
const output = [header, new Uint8Array(4096)];

describe("Session.handle over MemoryFs, buffers as virtio-fs has them", () => {
  bench("GETATTR", () => session.handle(getattr, output, ignore));
  bench("LOOKUP", () => session.handle(lookup, output, ignore));
  bench("LOOKUP, absent", () => session.handle(absent, output, ignore));
  bench("READ 4 KiB", () => session.handle(read, output, ignore));
});
