import {
  appendFileSync,
  chmodSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  decodeName,
  FATTR_MODE,
  FUSE_NOTIFY_DELETE,
  FUSE_NOTIFY_INC_EPOCH,
  FUSE_NOTIFY_INVAL_ENTRY,
  FUSE_NOTIFY_INVAL_INODE,
  fuse_notify_delete_out,
  fuse_notify_inval_entry_out,
  fuse_notify_inval_inode_out,
  fuse_out_header,
} from "@supermachine/fuse-protocol";
import { Notifier } from "@supermachine/fuse-server";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect, vi } from "vitest";
import type { PosixBackendOptions } from "../src/index.js";
import { asRoot, Client, root } from "./client.js";

const HOUR = 3_600_000;
const HEADER = fuse_out_header.size;

/** A notification as a person would write it down. */
function show(message: Uint8Array): string {
  const { error } = fuse_out_header.decode(message);
  const nameAfter = (size: number) => decodeName(message, HEADER + size, message.length - 1);
  if (error === FUSE_NOTIFY_INC_EPOCH) return "all names";
  if (error === FUSE_NOTIFY_INVAL_INODE) {
    const { ino, off } = fuse_notify_inval_inode_out.decode(message, HEADER);
    return `${off < 0n ? "attributes" : "contents"} of ${ino}`;
  }
  if (error === FUSE_NOTIFY_INVAL_ENTRY) {
    const { parent, flags } = fuse_notify_inval_entry_out.decode(message, HEADER);
    const verb = flags === 0 ? "name" : "expired name";
    return `${verb} ${nameAfter(fuse_notify_inval_entry_out.size)} in ${parent}`;
  }
  if (error === FUSE_NOTIFY_DELETE) {
    const { parent, child } = fuse_notify_delete_out.decode(message, HEADER);
    return `${child} gone as ${nameAfter(fuse_notify_delete_out.size)} in ${parent}`;
  }
  return `unexpected notification ${error}`;
}

/** A client of a watching backend, connected over a transport that writes down what it carries. */
class WatchingClient extends Client {
  readonly #directory: TemporaryDirectory;
  readonly told: string[] = [];

  constructor(options: PosixBackendOptions = {}, notified = true) {
    const directory = new TemporaryDirectory();
    super(directory.path, {
      entryTimeoutMs: HOUR,
      attrTimeoutMs: HOUR,
      negativeTimeoutMs: HOUR,
      watch: true,
      ...options,
    });
    this.#directory = directory;
    const notifier = new Notifier(async (message) => {
      this.told.push(show(message));
    });
    if (notified) this.backend.attachNotifier(notifier);
    this.backend.init({
      minor: 45,
      flags: 0n,
      maxWrite: 2 ** 20,
      maxReadahead: 2 ** 17,
      hostKernel: true,
    });
  }

  writeNode(nodeid: number, fh: number, text: string): void {
    this.backend.write(asRoot, nodeid, fh, 0, [Buffer.from(text)], 0);
  }

  at(name: string): string {
    return join(this.#directory.path, name);
  }

  /** What it was told since the last time, once events had the time to come. */
  async news(): Promise<string[]> {
    for (let turn = 0; turn < 4; turn++) await sleep(20);
    return this.told.splice(0).sort();
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.#directory[Symbol.dispose]();
  }
}

/** The watches of this process's inotify instances. */
function watchCount(): number {
  const instances = readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === "anon_inode:inotify";
    } catch {
      return false;
    }
  });
  const info = instances.map((fd) => readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"));
  return info.join("").match(/^inotify wd:/gm)?.length ?? 0;
}

const { test } = requireFacility("linux", "root");

test("many writes are told as one, changes of attributes keep what is cached of the contents", async () => {
  using client = new WatchingClient();
  writeFileSync(client.at("file"), "");
  const file = client.walk("file");
  await client.news();
  for (let i = 0; i < 100; i++) appendFileSync(client.at("file"), "x");
  expect(await client.news()).toEqual([`contents of ${file}`]);
  chmodSync(client.at("file"), 0o600);
  expect(await client.news()).toEqual([`attributes of ${file}`]);
});

test("a name is dropped when it stands for something else, not when that changes", async () => {
  using client = new WatchingClient();
  mkdirSync(client.at("d"));
  for (const name of ["a", "b", "d/c"]) writeFileSync(client.at(name), "");
  const [a, b, d, c] = [client.walk("a"), client.walk("b"), client.walk("d"), client.walk("d/c")];
  await client.news();

  renameSync(client.at("a"), client.at("d/c"));
  const changed = [`contents of ${a}`, ...[c, d, root].map((node) => `attributes of ${node}`)];
  expect(await client.news()).toEqual([`name a in ${root}`, `name c in ${d}`, ...changed].sort());
  unlinkSync(client.at("b"));
  const gone = [`${b} gone as b in ${root}`, `attributes of ${b}`, `attributes of ${root}`];
  expect(await client.news()).toEqual(gone.sort());
  utimesSync(client.at("d"), 5, 5);
  writeFileSync(client.at("d/c"), "new");
  expect(await client.news()).toEqual([`attributes of ${d}`, `contents of ${a}`]);
  expect(client.lookup(root, "d")).toBe(0);
  renameSync(client.at("d"), client.at("e"));
  // It lives on, so its removal must not be told.
  const moved = [`attributes of ${d}`, `attributes of ${root}`, `name d in ${root}`];
  expect(await client.news()).toEqual(expect.arrayContaining(moved));
});

test("a new name is told only to a client that may have looked for it in vain", async () => {
  using client = new WatchingClient();
  expect(client.lookup(root, "absent")).toBe(0);
  writeFileSync(client.at("absent"), "");
  writeFileSync(client.at("other"), "");
  expect(await client.news()).toEqual([
    `attributes of ${root}`,
    `expired name other in ${root}`,
    `name absent in ${root}`,
  ]);
  using forgetful = new WatchingClient({ negativeTimeoutMs: 0 });
  expect(forgetful.lookup(root, "absent")).toBe("ENOENT");
  writeFileSync(forgetful.at("absent"), "");
  expect(await forgetful.news()).toEqual([`attributes of ${root}`]);
});

test("a file that takes the place of a removed one is looked up again, whatever its inode number", async () => {
  using client = new WatchingClient();
  writeFileSync(client.at("file"), "old");
  client.walk("file");
  await client.news();
  unlinkSync(client.at("file"));
  writeFileSync(client.at("file"), "new");
  expect(await client.news()).toContain(`name file in ${root}`);
});

test("what the client does itself is not told back to it", async () => {
  using client = new WatchingClient();
  const { backend, entry } = client;
  const directory = client.mkdir(root, "d");
  for (let i = 0; i < 200; i++) {
    const [nodeid, fh] = client.create(directory, `new${i}`);
    client.writeNode(nodeid, fh, "text");
    client.setattr(nodeid, { valid: FATTR_MODE, mode: 0o600 });
    client.writeNode(nodeid, fh, "more");
    backend.release(asRoot, nodeid, fh);
    if (i % 4 === 0) backend.symlink(asRoot, directory, `link${i}`, "x", entry);
    if (i % 4 === 1) backend.unlink(asRoot, directory, `new${i}`);
    if (i % 4 === 2) backend.rename(asRoot, directory, `new${i}`, root, `moved${i}`, 0);
    if (i % 4 === 3) client.attr(nodeid);
  }
  const news = await client.news();
  // A chmod between two writes could be the host's.
  const attributes = news.filter((line) => line.startsWith("attributes of "));
  expect(attributes.length).toBeLessThanOrEqual(50);
  // Two names may share a slot of the table of what the client was told.
  const others = news.filter((line) => !attributes.includes(line));
  expect(others.filter((line) => !line.startsWith("expired name "))).toEqual([]);
  expect(others.length).toBeLessThan(10);
});

test("what the host does right after the client is told", async () => {
  using client = new WatchingClient();
  const [file, fh] = client.create(root, "file");
  client.writeNode(file, fh, "the client's");
  await client.news();
  client.attr(file);
  writeFileSync(client.at("file"), "the host's own");
  expect(await client.news()).toEqual([`contents of ${file}`]);
  client.writeNode(file, fh, "again");
  chmodSync(client.at("file"), 0o640);
  expect(await client.news()).toEqual([`attributes of ${file}`]);
  client.backend.unlink(asRoot, root, "file");
  writeFileSync(client.at("file"), "another");
  expect(await client.news()).toContain(`name file in ${root}`);
});

test("what nothing vouches for is trusted for a second", () => {
  const lifetimes = (client: WatchingClient, name: string) => {
    client.walk(name);
    return [client.entry.entryValidMs, client.entry.attrValidMs];
  };
  using client = new WatchingClient({ maxWatches: 2 });
  for (const name of ["d", "e", "e/f"]) mkdirSync(client.at(name));
  writeFileSync(client.at("file"), "");
  expect(lifetimes(client, "d")).toEqual([HOUR, HOUR]);
  expect(lifetimes(client, "file")).toEqual([HOUR, HOUR]);
  linkSync(client.at("file"), client.at("second-name"));
  expect(lifetimes(client, "file")).toEqual([HOUR, 1000]);
  expect(lifetimes(client, "e/f")).toEqual([1000, 1000]);

  using unheard = new WatchingClient({}, false);
  mkdirSync(unheard.at("d"));
  expect(lifetimes(unheard, "d")).toEqual([1000, 1000]);
  using following = new WatchingClient({ symlinks: "follow" });
  mkdirSync(following.at("d"));
  expect(lifetimes(following, "d")).toEqual([1000, 1000]);
});

test("a watch lasts as long as the client knows the directory", async () => {
  const before = watchCount();
  {
    using client = new WatchingClient();
    for (let i = 0; i < 5; i++) client.mkdir(root, `d${i}`);
    const d0 = client.walk("d0");
    expect(watchCount() - before).toBe(6);
    client.backend.forget(d0, 1);
    expect(watchCount() - before).toBe(6);
    client.backend.forget(d0, 1);
    expect(watchCount() - before).toBe(5);
    const d1 = client.walk("d1");
    client.backend.forget(d1, 2);
    rmSync(client.at("d2"), { recursive: true });
    await client.news();
    client.backend.destroy();
    expect(watchCount() - before).toBe(0);
  }
  expect(watchCount()).toBe(before);
});

test("a client is told to forget everything when events were lost", async () => {
  using client = new WatchingClient();
  for (const name of ["a", "b"]) writeFileSync(client.at(name), "");
  const [a, b] = [client.walk("a"), client.walk("b")];
  await client.news();
  const queued = Number(readFileSync("/proc/sys/fs/inotify/max_queued_events", "latin1"));
  // Equal events in a row count once.
  for (let i = 0; i <= queued; i++) utimesSync(client.at(i % 2 === 0 ? "a" : "b"), i, i);
  writeFileSync(client.at("unseen"), "");
  await vi.waitFor(() => expect(client.told).toContain(`contents of ${b}`));
  expect(client.told.slice(0, 4)).toEqual([
    "all names",
    `contents of ${root}`,
    `contents of ${a}`,
    `contents of ${b}`,
  ]);
});
