import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import {
  type Facility,
  requireFacility,
  runs,
  TemporaryDirectory,
} from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect } from "vitest";

const server = fileURLToPath(new URL("watching-server.mjs", import.meta.url));
const built = ["posix-backend", "fuse-mount"].map(
  (name): Facility => `file:${join(import.meta.dirname, "..", "..", name, "dist", "index.js")}`,
);
const soon = { timeout: 3000, interval: 20 };

/** Another process that serves the mount, so that this one may use it as any other does. */
class Server implements AsyncDisposable {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #exited: Promise<unknown[]>;
  readonly mounted: Promise<unknown[]>;

  constructor(host: string, path: string) {
    const stdio = ["pipe", "pipe", "inherit"] as const;
    this.#process = spawn(process.execPath, [server, host, path], { stdio: [...stdio] });
    this.#exited = once(this.#process, "exit");
    this.mounted = once(this.#process.stdout, "data");
  }

  end(): Promise<unknown[]> {
    this.#process.stdin.end();
    return this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

const { test } = requireFacility("linux", "root", "fuse", ...built);

test("a client that several threads serve is told of changes", async () => {
  using base = new TemporaryDirectory();
  const [host, path] = [join(base.path, "host"), join(base.path, "mounted")];
  for (const directory of [host, path, join(host, "d")]) mkdirSync(directory);
  writeFileSync(join(host, "a"), "a");
  await using serving = new Server(host, path);
  await serving.mounted;
  const list = (name: string) => () => readdirSync(join(path, name)).sort();
  const read = (name: string) => () => readFileSync(join(path, name), "utf8");

  expect(list("")()).toEqual(["a", "d"]);
  expect(read("a")()).toBe("a");
  expect(list("d")()).toEqual([]);
  expect(read("d/new")).toThrow("ENOENT");
  appendFileSync(join(host, "a"), " and more");
  await expect.poll(read("a"), soon).toBe("a and more");
  renameSync(join(host, "a"), join(host, "d/new"));
  await expect.poll(list(""), soon).toEqual(["d"]);
  await expect.poll(list("d"), soon).toEqual(["new"]);
  expect(read("d/new")()).toBe("a and more");
  rmSync(join(host, "d"), { recursive: true });
  await expect.poll(list(""), soon).toEqual([]);
  // What the client makes is watched, too.
  mkdirSync(join(path, "own"));
  writeFileSync(join(path, "own/file"), "the client's");
  writeFileSync(join(host, "own/file"), "the host's");
  await expect.poll(read("own/file"), soon).toBe("the host's");

  expect(await serving.end()).toEqual([0, null]);
});

const names = ["a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/a", "d/e/b"];
const name = fc.constantFrom(...names);
const change = fc.record({
  side: fc.constantFrom("host", "client"),
  kind: fc.constantFrom("write", "append", "chmod", "mkdir", "remove", "rename", "link", "look"),
  name,
  other: name,
});

/** What often fails, since names are random: a directory in the way of a file, no such file. */
function attempt(
  root: string,
  { kind, name, other }: typeof change extends fc.Arbitrary<infer T> ? T : never,
) {
  const path = join(root, name);
  try {
    if (kind === "write") writeFileSync(path, `${other} ${performance.now()}`);
    else if (kind === "append") appendFileSync(path, other);
    else if (kind === "chmod") chmodSync(path, 0o700 | (other.length & 0o77));
    else if (kind === "mkdir") mkdirSync(path);
    else if (kind === "remove") rmSync(path, { recursive: true });
    else if (kind === "rename") renameSync(path, join(root, other));
    else if (kind === "link") linkSync(path, join(root, other));
    else lookAt(root);
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}

/** What a name leads to: its mode, count of links and contents, or why it leads nowhere. */
function describePath(path: string): string {
  try {
    const stat = lstatSync(path);
    if (!stat.isFile()) return `${stat.mode.toString(8)}`;
    return `${stat.mode.toString(8)} ${stat.nlink} ${stat.size} ${readFileSync(path, "utf8")}`;
  } catch (error) {
    return error instanceof Error && "code" in error ? String(error.code) : "failed";
  }
}

/** All that there is, by a walk and by each name that there may be. */
function lookAt(root: string): string[] {
  const listed = ["", "d", "d/e"].map((directory) => {
    try {
      return `${directory}: ${readdirSync(join(root, directory)).sort()}`;
    } catch {
      return `${directory}: none`;
    }
  });
  return [...names.map((name) => `${name} ${describePath(join(root, name))}`), ...listed];
}

test("whatever host and client do in turns, the client comes to see the host's tree", async () => {
  using base = new TemporaryDirectory();
  const [host, path] = [join(base.path, "host"), join(base.path, "mounted")];
  for (const directory of [host, path]) mkdirSync(directory);
  await using serving = new Server(host, path);
  await serving.mounted;
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 5, maxLength: 60 }), async (changes) => {
      for (const name of readdirSync(host)) rmSync(join(host, name), { recursive: true });
      for (const one of changes) attempt(one.side === "host" ? host : path, one);
      await expect.poll(() => lookAt(path), soon).toEqual(lookAt(host));
    }),
    { numRuns: runs(40) },
  );
}, 60_000);
