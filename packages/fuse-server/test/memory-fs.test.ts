import {
  EEXIST,
  EINVAL,
  EISDIR,
  ENODATA,
  ENOENT,
  ENOSPC,
  ENOTEMPTY,
  ERANGE,
  FATTR_ATIME,
  FATTR_GID,
  FATTR_MTIME,
  FATTR_SIZE,
  FATTR_UID,
  FUSE_ROOT_ID,
  O_TRUNC,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  S_IFCHR,
  S_IFMT,
  XATTR_CREATE,
  XATTR_REPLACE,
} from "@supermachine/fuse-protocol";
import { beforeEach, describe, expect, it } from "vitest";
import { FuseClient, MemoryFs, Session } from "../src/index.js";
import { directChannel } from "./direct-channel.js";

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const bytes = (string: string) => new TextEncoder().encode(string);
const errno = (number: number) => expect.objectContaining({ errno: number });

let fs: MemoryFs;
let client: FuseClient;

beforeEach(async () => {
  fs = new MemoryFs({ maxBytes: 8 << 20 });
  client = new FuseClient(directChannel(new Session(fs)));
  await client.init();
});

async function makeFile(parent: number, name: string, content = ""): Promise<number> {
  const { entry, opened } = await client.create(parent, name);
  if (content !== "") await client.write(entry.nodeid, opened.fh, 0, bytes(content));
  await client.release(entry.nodeid, opened.fh);
  return entry.nodeid;
}

describe("files", () => {
  it("read back what was written, holes as zeros", async () => {
    const node = await makeFile(FUSE_ROOT_ID, "a");
    const { fh } = await client.open(node);
    expect(await client.write(node, fh, 100_000, bytes("end"))).toBe(3);
    expect(await client.write(node, fh, 0, bytes("start"))).toBe(5);
    expect((await client.getattr(node)).size).toBe(100_003);
    expect(text(await client.read(node, fh, 0, 8))).toBe("start\0\0\0");
    expect(text(await client.read(node, fh, 99_999, 100))).toBe("\0end");
    expect(await client.read(node, fh, 200_000, 100)).toHaveLength(0);
  });

  it("lose their content by truncation and O_TRUNC, and show zeros when extended again", async () => {
    const node = await makeFile(FUSE_ROOT_ID, "a", "hello world");
    expect((await client.setattr(node, { valid: FATTR_SIZE, size: 5 })).size).toBe(5);
    await client.setattr(node, { valid: FATTR_SIZE, size: 8 });
    expect(text(await client.read(node, 0, 0, 100))).toBe("hello\0\0\0");
    await client.open(node, O_TRUNC);
    expect((await client.getattr(node)).size).toBe(0);
  });

  it("keep exact times, also before 1970", async () => {
    const node = await makeFile(FUSE_ROOT_ID, "a");
    const valid = FATTR_ATIME | FATTR_MTIME;
    const times = { atime: -2, atimensec: 123_456_789, mtime: 1_700_000_000, mtimensec: 1 };
    await client.setattr(node, { valid, ...times });
    expect(await client.getattr(node)).toMatchObject(times);
  });

  it("stay readable after unlink until released and forgotten, then free their memory", async () => {
    const node = await makeFile(FUSE_ROOT_ID, "a", "content");
    const { fh } = await client.open(node);
    await client.unlink(FUSE_ROOT_ID, "a");
    await expect(client.lookup(FUSE_ROOT_ID, "a")).rejects.toEqual(errno(ENOENT));
    expect((await client.getattr(node)).nlink).toBe(0);
    expect(text(await client.read(node, fh, 0, 10))).toBe("content");
    await client.release(node, fh);
    expect(fs.bytes).toBeGreaterThan(0);
    await client.forget(node, 1);
    expect(fs.bytes).toBe(0);
    expect(fs.nodes).toBe(1);
  });

  it("are forgotten only when every delivery is taken back", async () => {
    const node = await makeFile(FUSE_ROOT_ID, "a");
    await client.lookup(FUSE_ROOT_ID, "a");
    await client.unlink(FUSE_ROOT_ID, "a");
    await client.batchForget([[node, 1]]);
    expect(fs.nodes).toBe(2);
    await client.batchForget([[node, 1]]);
    expect(fs.nodes).toBe(1);
  });

  it("lose set-id bits when the owner changes", async () => {
    const { entry } = await client.create(FUSE_ROOT_ID, "a", 0o6755);
    const attr = await client.setattr(entry.nodeid, {
      valid: FATTR_UID | FATTR_GID,
      uid: 5,
      gid: 6,
    });
    expect(attr.mode & 0o7777).toBe(0o755);
  });

  it("are refused with ENOSPC beyond the limit, and freed space can be used again", async () => {
    const node = await makeFile(FUSE_ROOT_ID, "big");
    const piece = new Uint8Array(1 << 16).fill(1);
    let written = 0;
    const fillUp = async () => {
      for (;;) written += await client.write(node, 0, written, piece);
    };
    await expect(fillUp()).rejects.toEqual(errno(ENOSPC));
    expect(written).toBe(8 << 20);
    expect((await client.statfs()).bfree).toBe(0);
    await client.setattr(node, { valid: FATTR_SIZE, size: 0 });
    expect(await client.write(node, 0, 0, piece)).toBe(piece.length);
  });
});

describe("names", () => {
  it("of hard links lead to one node that counts them", async () => {
    const node = await makeFile(FUSE_ROOT_ID, "a", "x");
    const linked = await client.link(node, FUSE_ROOT_ID, "b");
    expect(linked.nodeid).toBe(node);
    expect(linked.attr.nlink).toBe(2);
    await client.unlink(FUSE_ROOT_ID, "a");
    expect((await client.lookup(FUSE_ROOT_ID, "b")).attr.nlink).toBe(1);
    await expect(client.link(node, FUSE_ROOT_ID, "b")).rejects.toEqual(errno(EEXIST));
  });

  it("that are not UTF-8 come back byte for byte", async () => {
    await makeFile(FUSE_ROOT_ID, "caf\udce9");
    const { fh } = await client.opendir(FUSE_ROOT_ID);
    const names = (await client.readdir(FUSE_ROOT_ID, fh, 0)).map((entry) => entry.name);
    expect(names).toEqual([".", "..", "caf\udce9"]);
  });

  it("of directories make the parent's link count", async () => {
    const { nodeid } = await client.mkdir(FUSE_ROOT_ID, "d");
    await client.mkdir(nodeid, "e");
    await makeFile(nodeid, "f");
    expect((await client.getattr(nodeid)).nlink).toBe(3);
    await client.rmdir(nodeid, "e");
    expect((await client.getattr(nodeid)).nlink).toBe(2);
    await expect(client.rmdir(FUSE_ROOT_ID, "d")).rejects.toEqual(errno(ENOTEMPTY));
    await expect(client.unlink(FUSE_ROOT_ID, "d")).rejects.toEqual(errno(EISDIR));
  });

  it("of symbolic links keep their target and its length in bytes", async () => {
    const entry = await client.symlink(FUSE_ROOT_ID, "l", "../é/x");
    expect(entry.attr.size).toBe(7);
    expect(await client.readlink(entry.nodeid)).toBe("../é/x");
  });
});

describe("rename", () => {
  it("replaces a file, whose node lives on until forgotten", async () => {
    const a = await makeFile(FUSE_ROOT_ID, "a", "new");
    const b = await makeFile(FUSE_ROOT_ID, "b", "old");
    await client.rename(FUSE_ROOT_ID, "a", FUSE_ROOT_ID, "b");
    expect((await client.lookup(FUSE_ROOT_ID, "b")).nodeid).toBe(a);
    expect(text(await client.read(b, 0, 0, 10))).toBe("old");
    await expect(client.lookup(FUSE_ROOT_ID, "a")).rejects.toEqual(errno(ENOENT));
  });

  it("obeys NOREPLACE, EXCHANGE and WHITEOUT", async () => {
    const a = await makeFile(FUSE_ROOT_ID, "a");
    const { nodeid: d } = await client.mkdir(FUSE_ROOT_ID, "d");
    const rename = (flags: number) => client.rename(FUSE_ROOT_ID, "a", FUSE_ROOT_ID, "d", flags);
    await expect(rename(RENAME_NOREPLACE)).rejects.toEqual(errno(EEXIST));
    await rename(RENAME_EXCHANGE);
    expect((await client.lookup(FUSE_ROOT_ID, "a")).nodeid).toBe(d);
    expect((await client.lookup(FUSE_ROOT_ID, "d")).nodeid).toBe(a);
    await client.rename(FUSE_ROOT_ID, "d", FUSE_ROOT_ID, "z", RENAME_WHITEOUT);
    const { attr } = await client.lookup(FUSE_ROOT_ID, "d");
    expect([attr.mode & S_IFMT, attr.rdev]).toEqual([S_IFCHR, 0]);
  });

  it("moves a directory and its .. but not into itself", async () => {
    const { nodeid: d } = await client.mkdir(FUSE_ROOT_ID, "d");
    const { nodeid: e } = await client.mkdir(FUSE_ROOT_ID, "e");
    await expect(client.rename(FUSE_ROOT_ID, "d", d, "x")).rejects.toEqual(errno(EINVAL));
    await client.rename(FUSE_ROOT_ID, "d", e, "d");
    const { fh } = await client.opendir(d);
    expect((await client.readdir(d, fh, 0))[1]).toMatchObject({ name: "..", ino: e });
    expect((await client.getattr(FUSE_ROOT_ID)).nlink).toBe(3);
    expect((await client.getattr(e)).nlink).toBe(3);
  });
});

describe("directories", () => {
  async function list(fh: number, size: number, each?: (name: string) => Promise<void>) {
    const names: string[] = [];
    for (let offset = 0; ; ) {
      const entries = await client.readdir(FUSE_ROOT_ID, fh, offset, size);
      if (entries.length === 0) return names;
      for (const entry of entries) {
        offset = entry.offset;
        names.push(entry.name);
        await each?.(entry.name);
      }
    }
  }

  it("list every name once, in many small replies", async () => {
    const expected = [".", ".."];
    for (let i = 0; i < 200; i++) {
      await makeFile(FUSE_ROOT_ID, `file-${i}`);
      expected.push(`file-${i}`);
    }
    const { fh } = await client.opendir(FUSE_ROOT_ID);
    expect(await list(fh, 100)).toEqual(expected);
    expect(await list(fh, 4096)).toEqual(expected);
    const middle = await client.readdir(FUSE_ROOT_ID, fh, 0, 4096);
    const again = await client.readdir(FUSE_ROOT_ID, fh, middle[9]?.offset ?? 0, 4096);
    expect(again[0]?.name).toBe(expected[10]);
  });

  it("list names once while they are removed, as rm -rf does", async () => {
    for (let i = 0; i < 100; i++) await makeFile(FUSE_ROOT_ID, `file-${i}`);
    const { fh } = await client.opendir(FUSE_ROOT_ID);
    const names = await list(fh, 300, async (name) => {
      if (!name.startsWith(".")) await client.unlink(FUSE_ROOT_ID, name);
    });
    expect(names).toHaveLength(102);
    expect(await list(fh, 300)).toEqual([".", ".."]);
  });

  it("give attributes with READDIRPLUS and count the lookups", async () => {
    const node = await makeFile(FUSE_ROOT_ID, "a", "12345");
    await client.forget(node, 1);
    const { fh } = await client.opendir(FUSE_ROOT_ID);
    const entries = await client.readdirplus(FUSE_ROOT_ID, fh, 0);
    expect(entries.map((entry) => entry.name)).toEqual([".", "..", "a"]);
    expect(entries[0]?.entry?.nodeid).toBe(0);
    expect(entries[2]?.entry).toMatchObject({ nodeid: node, attr: { size: 5 } });
    await client.unlink(FUSE_ROOT_ID, "a");
    expect(fs.nodes).toBe(2);
    await client.forget(node, 1);
    expect(fs.nodes).toBe(1);
  });
});

describe("extended attributes", () => {
  it("are set, read, listed and removed with the errors of xattr(7)", async () => {
    const node = await makeFile(FUSE_ROOT_ID, "a");
    await client.setxattr(node, "user.one", bytes("1"), XATTR_CREATE);
    await client.setxattr(node, "user.two", bytes(""));
    await expect(client.setxattr(node, "user.one", bytes("2"), XATTR_CREATE)).rejects.toEqual(
      errno(EEXIST),
    );
    await expect(client.setxattr(node, "user.no", bytes("2"), XATTR_REPLACE)).rejects.toEqual(
      errno(ENODATA),
    );
    expect(text(await client.getxattr(node, "user.one"))).toBe("1");
    expect(await client.listxattr(node)).toEqual(["user.one", "user.two"]);
    await client.setxattr(node, "user.one", bytes("longer"));
    await expect(client.getxattr(node, "user.one", 3)).rejects.toEqual(errno(ERANGE));
    await client.removexattr(node, "user.one");
    await expect(client.getxattr(node, "user.one")).rejects.toEqual(errno(ENODATA));
  });
});
