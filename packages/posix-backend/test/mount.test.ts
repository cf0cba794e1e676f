import { execFile } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Mount, type MountOptions, mount } from "@supermachine/fuse-mount";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { PosixBackend, type PosixBackendOptions } from "../src/index.js";

const run = promisify(execFile);

/** A host directory mounted on another one, through the backend and the kernel's own FUSE client. */
class MountedShare implements AsyncDisposable {
  readonly #base = new TemporaryDirectory();
  readonly host = join(this.#base.path, "host");
  readonly path = join(this.#base.path, "mounted");
  readonly #backend: PosixBackend;
  #mount: Mount | undefined;

  constructor(options: PosixBackendOptions) {
    mkdirSync(this.host, { mode: 0o755 });
    mkdirSync(this.path);
    this.#backend = new PosixBackend(this.host, options);
  }

  static async start(
    options: PosixBackendOptions = {},
    mountOptions: MountOptions = {},
  ): Promise<MountedShare> {
    const share = new MountedShare(options);
    share.#mount = await mount(share.#backend, share.path, {
      allowOther: true,
      allowSetuid: true,
      ...mountOptions,
    });
    return share;
  }

  /**
   * Runs a script in the mount. This process serves the mount and must never wait for it, not even by
   * giving it as `cwd`: starting a process waits for its chdir.
   */
  async sh(script: string): Promise<string> {
    const env = {
      ...process.env,
      HOME: "/nonexistent",
      GIT_CONFIG_NOSYSTEM: "1",
      LC_ALL: "C",
      HOST: this.host,
      MOUNT: this.path,
    };
    const command = [
      "-euo",
      "pipefail",
      "-c",
      `umask 022; cd "$MOUNT"
${script}`,
    ];
    return (await run("bash", command, { env, timeout: 60_000 })).stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#mount?.[Symbol.asyncDispose]();
    this.#backend.close();
    this.#base[Symbol.dispose]();
  }
}

const { test } = requireFacility("linux", "root", "fuse");
const lines = (text: string): string[] => text.trim().split("\n");

test("a mounted share holds what cp, mv, ln, chmod, chown, touch and rm do", async () => {
  await using share = await MountedShare.start();
  const out = await share.sh(`
    cp -a /etc/passwd a
    mkdir -p d/e/f && mv a d/b && ln d/b c && ln -s d/b s && cmp /etc/passwd s
    chown 1000:1001 c && chmod 4750 c && touch -d @1000000000 c
    stat -c '%h %u:%g %a %Y' d/b
    mkfifo fifo && stat -c %F fifo
    mknod null c 1 3 && stat -c '%F %t:%T' null && cat null 2>&1 || true
    truncate -s 100M big && fallocate -n -l 8k big && stat -c %s big
    rm -r d big fifo && ls -A`);
  expect(lines(out)).toEqual([
    "2 1000:1001 4750 1000000000",
    "fifo",
    "character special file 1:3",
    "cat: null: Permission denied",
    "104857600",
    "c",
    "null",
    "s",
  ]);
  expect(readdirSync(share.host).sort()).toEqual(["c", "null", "s"]);
});

test("a tree that tar brings in is the same on the host", async () => {
  await using share = await MountedShare.start();
  await share.sh(`
    mkdir t && tar -C /usr/include/linux -cf - . | tar -C t -xf -
    diff -r /usr/include/linux t && diff -r /usr/include/linux "$HOST/t"
    tar -C t -cf - . | tar -df - -C /usr/include/linux
    rm -rf t`);
  expect(existsSync(join(share.host, "t"))).toBe(false);
});

requireFacility("linux", "root", "fuse", "program:git").test("git works on it", async () => {
  await using share = await MountedShare.start();
  const out = await share.sh(`
    git init -q repo && cd repo
    for i in $(seq 50); do echo "$i" > "f$i"; done
    git add . && git -c user.name=a -c user.email=a@b commit -qm first
    git mv f1 moved && rm f2 && git add -A
    git -c user.name=a -c user.email=a@b commit -qm second
    git gc -q && git fsck --strict 2>&1 && git status --short && git log --format=%s`);
  expect(lines(out)).toEqual(["second", "first"]);
});

test("files made by another user belong to it, and set-id bits go when it writes", async () => {
  await using share = await MountedShare.start();
  // After a write the client's kernel shows the old mode while its attributes are valid: ask the host.
  const out = await share.sh(`
    chmod 777 . && mkdir shared && chgrp 1001 shared && chmod 2775 shared
    as() { setpriv --reuid "$1" --regid "$2" --groups "$3" bash -c "umask 022; $4"; }
    as 1000 1000 1001 'touch f shared/g && mkdir d shared/e && ln -s x l'
    stat -c '%n %u:%g %a' f d l shared/g shared/e
    as 1000 1000 1000 'touch shared/no' 2>&1 || true
    cp /bin/true suid && chmod 6777 suid && as 1000 1000 1000 'echo x >> suid' && stat -c %a "$HOST/suid"
    chmod 6777 suid && as 1000 1000 1000 'truncate -s 1 suid' && stat -c %a suid
    chmod 6777 suid && echo x >> suid && stat -c %a suid`);
  expect(lines(out)).toEqual([
    "f 1000:1000 644",
    "d 1000:1000 755",
    "l 1000:1000 777",
    "shared/g 1000:1001 644",
    "shared/e 1000:1001 2755",
    "touch: cannot touch 'shared/no': Permission denied",
    "777",
    "777",
    "6777",
  ]);
});

test("with follow, programs walk through links inside and see those outside as links", async () => {
  await using share = await MountedShare.start({ symlinks: "follow" });
  const out = await share.sh(`
    mkdir "$HOST/dir" && echo text > "$HOST/dir/file"
    ln -s dir "$HOST/inside" && ln -s ../.. "$HOST/outside" && ln -s .. "$HOST/dir/cycle"
    cat inside/file dir/cycle/inside/file
    stat -c %F inside outside
    (find . -name file 2>&1 || true) | sort
    cd inside/cycle && ls`);
  expect(lines(out)).toEqual([
    "text",
    "text",
    "directory",
    "symbolic link",
    "./dir/file",
    "./inside/file",
    "find: File system loop detected; './dir/cycle' is part of the same file system loop as '.'.",
    "find: File system loop detected; './inside/cycle' is part of the same file system loop as '.'.",
    "dir",
    "inside",
    "outside",
  ]);
});

test("a read-only share takes nothing", async () => {
  await using share = await MountedShare.start({ readOnly: true });
  const out = await share.sh(`echo text > "$HOST/file"; cat file; touch new 2>&1 || true`);
  expect(lines(out)).toEqual(["text", "touch: cannot touch 'new': Read-only file system"]);
});

for (const passthrough of [true, false]) {
  requireFacility("linux", "root", "fuse", "program:setpriv").test(
    `a write drops set-id bits, whoever makes it, and root's does not (passthrough: ${passthrough})`,
    async () => {
      await using share = await MountedShare.start({}, { passthrough });
      const out = await share.sh(`
      as() { setpriv --reuid=$1 --regid=$2 --clear-groups sh -c "$3"; }
      # Linux's client keeps an old mode for a stat(1) that asks for nothing else.
      modes() { echo $(stat -c '%a %s' f "$HOST/f" | cut -d ' ' -f 1); chmod 6777 f; }
      touch f && chown 1000:1000 f && chmod 6777 f
      echo root >> f; modes
      as 1000 1000 'echo owner >> f'; modes
      as 1002 1002 'echo other >> f'; modes
      as 1002 1002 'truncate -s 3 f'; modes
      as 1002 1002 ': > f'; modes
      chmod 6766 f; as 1000 1000 'echo member >> f'; modes
      chmod 6766 f; setpriv --reuid=1002 --regid=1002 --groups=5,1000 sh -c 'echo also >> f'; modes
      chmod 6766 f; as 1002 1002 'echo stranger >> f'; modes
      as 1002 1002 'chown : f 2>&1' || true; modes
      chown : f; modes`);
      expect(lines(out).map((line) => line.trim())).toEqual([
        "6777 6777",
        "777 777",
        "777 777",
        "777 777",
        "777 777",
        "2766 2766",
        "2766 2766",
        "766 766",
        "chown: changing group of 'f': Operation not permitted",
        "6777 6777",
        "777 777",
      ]);
    },
  );
}
