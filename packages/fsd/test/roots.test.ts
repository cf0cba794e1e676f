import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connectStream } from "@supermachine/fuse-server";
import { requireFacility, TemporaryDirectory, until } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { clientsCanRun, runClients } from "../bench/clients.mjs";
import { type RootsServer, serveRoots } from "../src/index.js";

const { test } = requireFacility("linux");
const ROOT = 1;

class Roots extends TemporaryDirectory {
  readonly socketPath = join(this.path, "roots.sock");
  readonly warnings: string[] = [];
  readonly logger = { warn: (message: string) => void this.warnings.push(message) };
  readonly roots = {
    one: { dir: join(this.path, "one") },
    docs: { dir: join(this.path, "docs"), readOnly: true },
    small: { dir: join(this.path, "one"), maxHandles: 1, maxInodes: 2 },
  };

  constructor() {
    super();
    for (const { dir } of [this.roots.one, this.roots.docs]) mkdirSync(dir);
    writeFileSync(join(this.roots.docs.dir, "page"), "text");
    symlinkSync("../docs/page", join(this.roots.one.dir, "link"));
  }

  serve(): Promise<RootsServer> {
    return serveRoots(this);
  }
}

test("each client has the root it names, as that is served", async () => {
  using roots = new Roots();
  await using server = await roots.serve();
  const { socketPath } = roots;
  using one = await connectStream(socketPath, { root: "one" });
  using docs = await connectStream(socketPath, { root: "docs" });
  await one.create(ROOT, "file");
  expect(existsSync(join(roots.roots.one.dir, "file"))).toBe(true);
  const page = await docs.lookup(ROOT, "page");
  const { fh } = await docs.open(page.nodeid);
  expect(Buffer.from(await docs.read(page.nodeid, fh, 0, 100)).toString()).toBe("text");
  await expect(docs.create(ROOT, "file")).rejects.toMatchObject({ code: "EROFS" });
  await expect(docs.lookup(ROOT, "file")).rejects.toMatchObject({ code: "ENOENT" });
  // A link that leads to another root is a link, and no more.
  const link = await one.lookup(ROOT, "link");
  expect(await one.readlink(link.nodeid)).toBe("../docs/page");
  await expect(one.open(link.nodeid)).rejects.toMatchObject({ code: "ELOOP" });
  for (const name of ["..", ".", "../docs", "/etc", "a/b"]) {
    await expect(one.lookup(ROOT, name)).rejects.toMatchObject({ code: "EINVAL" });
  }
  for (const root of ["none", "..", "__proto__", roots.roots.one.dir]) {
    await expect(connectStream(socketPath, { root })).rejects.toMatchObject({ code: "ENOENT" });
  }
  expect(server.usage.clients).toBe(2);
});

test("what a client holds is bounded, and given back when it leaves", async () => {
  using roots = new Roots();
  await using server = await roots.serve();
  const { socketPath } = roots;
  const client = await connectStream(socketPath, { root: "small" });
  await client.create(ROOT, "a");
  await expect(client.opendir(ROOT)).rejects.toMatchObject({ code: "ENFILE" });
  await expect(client.mkdir(ROOT, "b")).rejects.toMatchObject({ code: "ENFILE" });
  using other = await connectStream(socketPath, { root: "one" });
  await other.mkdir(ROOT, "c");
  expect(server.usage).toEqual({ clients: 2, openFiles: 1, inodes: 4 });
  client.close();
  await until(() => server.usage.clients === 1, "the client to be gone");
  expect(server.usage).toEqual({ clients: 1, openFiles: 0, inodes: 2 });
});

test("what cannot be served is an error that says what", async () => {
  using roots = new Roots();
  const { socketPath } = roots;
  const cases: [options: Parameters<typeof serveRoots>[0], code: string][] = [
    [{ socketPath, roots: { "": { dir: "/" } } }, "ERR_FSD_OPTION"],
    [{ socketPath, roots: { x: { dir: "/nowhere" } } }, "ERR_FSD_SHARE"],
    [{ socketPath: "/nowhere/socket", roots: {} }, "ERR_FSD_SOCKET"],
  ];
  for (const [options, code] of cases) {
    await expect(serveRoots(options)).rejects.toMatchObject({ code });
  }
  await using _server = await roots.serve();
  await expect(roots.serve()).rejects.toMatchObject({ code: "ERR_FSD_SOCKET_IN_USE" });
  const group = process.getgid?.() ?? 0;
  await using grouped = await serveRoots({
    socketPath: `${socketPath}2`,
    roots: {},
    socketGroup: group,
  });
  expect(statSync(grouped.socketPath).mode & 0o777).toBe(0o660);
  expect(readFileSync(join(roots.roots.docs.dir, "page"), "utf8")).toBe("text");
});

requireFacility("linux", {
  name: "built-packages",
  missing: clientsCanRun() ? undefined : "the clients use the built packages",
}).test(
  "of 24 clients, some of them killed, none loses anything and nothing is left",
  async () => {
    const result = await runClients(serveRoots, { seconds: 7, clients: 24 });
    expect(result.mistakes).toEqual([]);
    expect(result.left).toEqual({ clients: 0, openFiles: 0, inodes: 0 });
    // Those of the tests before may have been counted as well.
    expect(result.descriptorsLeft).toBeLessThanOrEqual(0);
    expect(result.kills).toBeGreaterThan(3);
    expect(result.operations).toBeGreaterThan(0);
    expect(result.files).toBeGreaterThan(0);
  },
  60_000,
);
