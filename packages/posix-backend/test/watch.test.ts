import { execFile } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Mount, mount } from "@supermachine/fuse-mount";
import type { EntryReply, RequestContext } from "@supermachine/fuse-server";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { PosixBackend, type PosixBackendOptions } from "../src/index.js";

const run = promisify(execFile);
const HOUR = 3_600_000;

/** Notes the shortest time for which it lets the client trust an answer. */
class TrustingBackend extends PosixBackend {
  shortestMs = Number.POSITIVE_INFINITY;

  override lookup(ctx: RequestContext, parent: number, name: string, reply: EntryReply): number {
    const result = super.lookup(ctx, parent, name, reply);
    if (result === 0) this.shortestMs = Math.min(this.shortestMs, reply.entryValidMs);
    return result;
  }
}

/** A mount whose kernel trusts what it was told for an hour, unless it is told better. */
class WatchedMount implements AsyncDisposable {
  readonly #base = new TemporaryDirectory();
  readonly host = join(this.#base.path, "host");
  readonly path = join(this.#base.path, "mounted");
  readonly backend: TrustingBackend;
  #mount: Mount | undefined;

  constructor(options: PosixBackendOptions) {
    mkdirSync(this.host);
    mkdirSync(this.path);
    this.backend = new TrustingBackend(this.host, {
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
    // Or else what the tests saw may have been seen because it was asked for.
    expect(this.backend.shortestMs).toBe(HOUR);
    this.#base[Symbol.dispose]();
  }
}

const { test } = requireFacility("linux", "root", "fuse");

/** Changes are seen within some 20 ms; there is time for a loaded machine. */
const soon = { timeout: 3000, interval: 40 };

test("contents that the host writes are read in the mount, by programs that hold the file too", async () => {
  await using watched = await WatchedMount.start({ cache: "always" });
  writeFileSync(watched.at("file"), "old\n");
  expect(await watched.sh("cat file")).toBe("old\n");
  const holding = watched.sh(`
    exec 3< file; head -c 4 <&3; touch "$HOST/ready"
    for ((i = 0; i < 100; i++)); do
      line=$(tail -n 1 /proc/self/fd/3 <&-); [ "$line" = new ] && break; sleep 0.02
    done; cat file`);
  await expect.poll(() => existsSync(watched.at("ready")), soon).toBe(true);
  appendFileSync(watched.at("file"), "new\n");
  expect(await holding).toBe("old\nold\nnew\n");
  expect(await watched.sh("stat -c %s file")).toBe("8\n");
});

test("a change of mode, owner and times is seen, of the root too", async () => {
  await using watched = await WatchedMount.start();
  const show = () => watched.sh("stat -c '%a %u %Y' file . | paste -sd' '");
  writeFileSync(watched.at("file"), "");
  await show();
  chmodSync(watched.at("file"), 0o640);
  chownSync(watched.at("file"), 5, 5);
  utimesSync(watched.at("file"), 7, 7);
  chmodSync(watched.host, 0o711);
  utimesSync(watched.host, 9, 9);
  await expect.poll(show, soon).toBe("640 5 7 711 0 9\n");
});

test("names that the host makes, removes, moves and replaces are seen", async () => {
  await using watched = await WatchedMount.start({ cache: "always" });
  const show = () =>
    watched.sh("(cat a b c d/e 2>/dev/null || true) | paste -sd' '; ls . d | paste -sd' '");
  mkdirSync(watched.at("d"));
  for (const name of ["a", "b", "d/e"]) writeFileSync(watched.at(name), `${name}\n`);
  expect(await show()).toBe("a b d/e\n.: a b d  d: e\n");

  writeFileSync(watched.at("c"), "c\n");
  await expect.poll(show, soon).toBe("a b c d/e\n.: a b c d  d: e\n");
  rmSync(watched.at("b"));
  await expect.poll(show, soon).toBe("a c d/e\n.: a c d  d: e\n");
  renameSync(watched.at("d/e"), watched.at("b"));
  await expect.poll(show, soon).toBe("a d/e c\n.: a b c d  d:\n");
  renameSync(watched.at("c"), watched.at("a"));
  await expect.poll(show, soon).toBe("c d/e\n.: a b d  d:\n");
  rmSync(watched.at("d"), { recursive: true });
  writeFileSync(watched.at("d"), "a file now\n");
  await expect.poll(() => watched.sh("cat d"), soon).toBe("a file now\n");
});

test("a program that watches a file in the mount hears of its removal", async () => {
  await using watched = await WatchedMount.start();
  writeFileSync(watched.at("file"), "");
  const script = `require("fs").watch("file", (event) => { console.log(event); process.exit(); });
    require("fs").writeFileSync(process.env.HOST + "/ready", "");
    setTimeout(() => process.exit(1), 5000);`;
  const watching = watched.sh(`exec "${process.execPath}" -e '${script}'`);
  await expect.poll(() => existsSync(watched.at("ready")), { timeout: 5000 }).toBe(true);
  rmSync(watched.at("file"));
  expect(await watching).toBe("rename\n");
});

test("what is mounted on a directory of the mount stays when the host changes things beneath", async () => {
  await using watched = await WatchedMount.start();
  mkdirSync(watched.at("d"));
  writeFileSync(watched.at("d/below"), "");
  await watched.sh("ls -l . d; mount -t tmpfs none d; touch d/above");
  try {
    chmodSync(watched.at("d"), 0o700);
    utimesSync(watched.at("d"), 5, 5);
    writeFileSync(watched.at("d/below"), "more");
    writeFileSync(watched.at("d/new"), "");
    writeFileSync(watched.at("beside"), "");
    renameSync(watched.at("beside"), watched.at("moved"));
    await expect
      .poll(() => watched.sh("ls . d | paste -sd' '"), soon)
      .toBe(".: d moved  d: above\n");
  } finally {
    await watched.sh("umount d");
  }
  expect(await watched.sh("ls d; stat -c '%a' d")).toBe("below\nnew\n700\n");
});
