import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
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
import { type Facility, requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
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

requireFacility("linux", "root", "fuse", ...built).test(
  "a client that several threads serve is told of changes",
  async () => {
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
  },
);
