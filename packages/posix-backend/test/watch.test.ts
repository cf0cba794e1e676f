import { execFile } from "node:child_process";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Mount, mount } from "@supermachine/fuse-mount";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { PosixBackend, type PosixBackendOptions } from "../src/index.js";

const run = promisify(execFile);
const HOUR = 3_600_000;

/** A mount whose kernel trusts what it was told for an hour, unless it is told better. */
class WatchedMount implements AsyncDisposable {
  readonly #base = new TemporaryDirectory();
  readonly host = join(this.#base.path, "host");
  readonly path = join(this.#base.path, "mounted");
  readonly backend: PosixBackend;
  #mount: Mount | undefined;

  constructor(options: PosixBackendOptions) {
    mkdirSync(this.host);
    mkdirSync(this.path);
    this.backend = new PosixBackend(this.host, {
      entryTimeoutMs: HOUR,
      attrTimeoutMs: HOUR,
      negativeTimeoutMs: HOUR,
      watch: true,
      ...options,
    });
  }

  static async start(options: PosixBackendOptions = {}): Promise<WatchedMount> {
    const watched = new WatchedMount(options);
    watched.#mount = await mount(watched.backend, watched.path, { allowOther: true });
    return watched;
  }

  /** Runs a script in the mount, which this process must never wait for. */
  async sh(script: string): Promise<string> {
    const command = ["-euo", "pipefail", "-c", `cd "$0" && ${script}`, this.path];
    return (
      await run("bash", command, { timeout: 30_000, env: { ...process.env, HOST: this.host } })
    ).stdout;
  }

  at(name: string): string {
    return join(this.host, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mount?.[Symbol.asyncDispose]();
    this.backend.close();
    this.#base[Symbol.dispose]();
  }
}

const { test } = requireFacility("linux", "root", "fuse");

/** A change is to be seen within a second: asks until then, and lets the assertion say what it saw. */
const soon = { timeout: 1000, interval: 40 };

test("contents that the host writes are read in the mount, by programs that hold the file too", async () => {
  await using watched = await WatchedMount.start({ cache: "always" });
  writeFileSync(watched.at("file"), "old\n");
  expect(await watched.sh("cat file")).toBe("old\n");
  writeFileSync(watched.at("file"), "new and longer\n");
  await expect
    .poll(() => watched.sh("cat file; stat -c %s file"), soon)
    .toBe("new and longer\n15\n");
});
