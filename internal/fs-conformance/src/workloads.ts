import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { requireFacility } from "@supermachine-internal/testing";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type MountedTarget, startMount } from "./mounted.js";

const run = promisify(execFile);
const TIMEOUT_MS = 180_000;
/** The checkout of this repository, and with it packages to install. */
const REPOSITORY = join(import.meta.dirname, "..", "..", "..");

/** Why there is no repository to clone here, a source archive for example. */
function missingCheckout(): string | undefined {
  const { status } = spawnSync("git", ["-C", REPOSITORY, "rev-parse", "HEAD"]);
  return status === 0 ? undefined : "this is not a git checkout";
}

/** Declares tests that ordinary programs work on a mount: git, npm, tar, SQLite, make. */
export function testWorkloads(target: MountedTarget): void {
  describe(`programs on ${target.name}`, () => {
    let mounted: Awaited<ReturnType<typeof startMount>> | undefined;
    beforeAll(async () => {
      mounted = await startMount(target);
    });
    afterAll(() => mounted?.[Symbol.asyncDispose]());

    /** Runs a script in a new directory of the mount, and removes that with all in it. */
    async function shell(name: string, script: string): Promise<string> {
      const env = {
        ...process.env,
        GIT_CONFIG_GLOBAL: "/dev/null",
        GIT_CONFIG_NOSYSTEM: "1",
        LC_ALL: "C",
        REPOSITORY,
      };
      // This process may serve the mount: to give it as `cwd` would be to wait for it.
      const inside = `cd "$0"; mkdir ${name}; cd ${name}\n${script}\ncd "$0"; rm -r ${name}`;
      const command = ["-euo", "pipefail", "-c", inside, mounted?.path ?? ""];
      return (await run("bash", command, { env, timeout: TIMEOUT_MS, maxBuffer: 2 ** 24 })).stdout;
    }
    const lines = (text: string) => text.trim().split("\n");

    const checkout = { name: "checkout", missing: missingCheckout() };
    requireFacility("program:git", checkout).test(
      "git clones this repository, commits, packs and checks it",
      async () => {
        const out = await shell(
          "git",
          `
          git -c safe.directory='*' clone -q "file://$REPOSITORY" clone; cd clone
          git config user.name a; git config user.email a@b
          git status --porcelain
          git checkout -q -b work; git mv README.md READ; echo more >> LICENSE
          git commit -qam "Change much"; git status --porcelain
          git checkout -q -; git merge -q --no-edit work; test -f READ
          git gc -q; git fsck --strict 2>&1; git stash list
          touch new; git status --porcelain; git clean -qf; git status --porcelain`,
        );
        expect(lines(out)).toEqual(["?? new"]);
      },
      TIMEOUT_MS,
    );

    requireFacility("program:npm").test(
      "npm ci installs packages from archives, with what they need and their programs",
      async () => {
        const out = await shell(
          "npm",
          `
          export npm_config_cache="$PWD/cache" npm_config_offline=true npm_config_audit=false \
            npm_config_fund=false npm_config_update_notifier=false npm_config_ignore_scripts=true
          cd "$REPOSITORY/node_modules"
          npm pack --silent --pack-destination "$OLDPWD" ./semver ./fast-check ./pure-rand \
            ./picomatch ./commander > /dev/null
          cd "$OLDPWD"
          mkdir project; cd project
          dependencies=$(for each in ../*.tgz; do
            name=$(basename "$each" | sed 's/-[0-9][0-9.]*\\.tgz$//'); echo "\\"$name\\": \\"file:$each\\","; done)
          echo "{\\"name\\": \\"project\\", \\"dependencies\\": { \${dependencies%,} }}" > package.json
          npm install --silent --package-lock-only > /dev/null
          npm ci --silent > /dev/null
          node_modules/.bin/semver 1.2.3 -r '^1.0.0'
          node -e 'console.log(require("picomatch")("*.c")("a.c"), typeof require("fast-check").assert)'
          ls node_modules | sort | tr '\\n' ' '`,
        );
        expect(lines(out)).toEqual([
          "1.2.3",
          "true function",
          "commander fast-check picomatch pure-rand semver",
        ]);
      },
      TIMEOUT_MS,
    );

    requireFacility("file:/usr/include/linux", "program:tar").test(
      "tar brings the headers of the kernel in and out without change",
      async () => {
        const out = await shell(
          "tar",
          `
          tar -C /usr/include -cf - linux | tar -xf -
          tar -cf - linux | tar -C /usr/include -df - linux && echo same
          cp -a linux copy; diff -r --no-dereference linux copy && echo same`,
        );
        expect(lines(out)).toEqual(["same", "same"]);
      },
      TIMEOUT_MS,
    );

    requireFacility("program:python3").test(
      "SQLite keeps a write-ahead log for several processes at once",
      async () => {
        const script = `
import sqlite3, sys
db = sqlite3.connect("db", timeout=60, isolation_level=None)
for number in range(60):
    db.execute("begin immediate")
    db.execute("insert into t values (?, ?)", (sys.argv[1], number))
    db.execute("commit")
    assert db.execute("select count(*) from t where process = ?", (sys.argv[1],)).fetchone() == (number + 1,)
`;
        const out = await shell(
          "sqlite",
          `
          cat > write.py <<'END'\n${script}END
          python3 -c 'import sqlite3; db = sqlite3.connect("db")
assert db.execute("pragma journal_mode=wal").fetchone() == ("wal",)
db.execute("create table t (process integer, number integer)")'
          python3 write.py 1 & one=$!; python3 write.py 2 & two=$!; python3 write.py 3
          wait $one; wait $two
          python3 -c 'import sqlite3; db = sqlite3.connect("db")
print(db.execute("select count(*), count(distinct process) from t").fetchone())
print(db.execute("pragma integrity_check").fetchone())'`,
        );
        expect(lines(out)).toEqual(["(180, 3)", "('ok',)"]);
      },
      TIMEOUT_MS,
    );

    requireFacility("program:make", "program:cc").test(
      "make builds a program with several jobs at once, and then has nothing to do",
      async () => {
        const out = await shell(
          "make",
          `
          main='int main(void) { int sum = 0;'
          for i in $(seq 40); do
            echo "int f$i(void) { return $i; }" > "f$i.c"; echo "int f$i(void);" >> all.h
            main="$main sum += f$i();"
          done
          printf '#include <stdio.h>\\n#include "all.h"\\n%s printf("%%d\\\\n", sum); return 0; }\\n' "$main" > main.c
          printf 'objects := $(patsubst %%.c,%%.o,$(wildcard *.c))\\nprogram: $(objects)\\n\\tcc -o $@ $^\\n%%.o: %%.c all.h\\n\\tcc -c -o $@ $<\\n' > Makefile
          make -s -j4; ./program; make -q && echo "up to date"
          touch f7.c; make -n | grep -c -e ' -c '`,
        );
        expect(lines(out)).toEqual(["820", "up to date", "1"]);
      },
      TIMEOUT_MS,
    );
  });
}
