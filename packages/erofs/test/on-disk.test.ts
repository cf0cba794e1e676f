import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  dirent,
  inodeCompact,
  inodeExtended,
  superBlock,
  xattrEntry,
  xattrIbodyHeader,
} from "../src/on-disk.js";

const tarball = "/usr/src/linux-source-6.1.tar.xz";
const header = "linux-source-6.1/fs/erofs/erofs_fs.h";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "erofs-abi-"));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What the header takes from the rest of the kernel. */
const prelude = `
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
typedef __u8 u8;
#define __packed __attribute__((packed))
#define BUILD_BUG_ON(x)
#define BIT(n) (1UL << (n))
#define le16_to_cpu(x) (x)
#define cpu_to_le64(x) (x)
#define round_up(x, y) ((((x) - 1) | ((y) - 1)) + 1)
`;

test("every struct has the size and offsets of the kernel's header", (context) => {
  if (!existsSync(tarball)) context.skip(`${tarball} is not there (Debian: linux-source-6.1)`);
  if (spawnSync("gcc", ["--version"]).error) context.skip("gcc is not installed");
  execFileSync("tar", ["-C", directory, "--occurrence=1", "-xf", tarball, header]);
  const structs = [superBlock, inodeCompact, inodeExtended, xattrIbodyHeader, xattrEntry, dirent];
  const prints = structs.flatMap(({ name, offsets }) => [
    `printf("${name} %zu\\n", sizeof(struct ${name}));`,
    ...Object.keys(offsets).map(
      (field) => `printf("${name}.${field} %zu\\n", offsetof(struct ${name}, ${field}));`,
    ),
  ]);
  const source = join(directory, "probe.c");
  writeFileSync(
    source,
    `${prelude}#include "${header}"\nint main(void) { ${prints.join("\n")} return 0; }\n`,
  );
  const probe = join(directory, "probe");
  execFileSync("gcc", ["-I", directory, "-o", probe, source]);
  const expected = structs.flatMap(({ name, size, offsets }) => [
    `${name} ${size}`,
    ...Object.entries(offsets).map(([field, offset]) => `${name}.${field} ${offset}`),
  ]);
  expect(execFileSync(probe, { encoding: "utf8" }).trim().split("\n")).toEqual(expected);
}, 60_000);
