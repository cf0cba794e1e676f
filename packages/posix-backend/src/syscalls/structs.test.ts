import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as structs from "./structs.js";

const headers = `
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <dirent.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#define linux_dirent64 dirent64
`;

test("structs have the sizes and offsets of the C headers", () => {
  const lines: string[] = [];
  const expected: string[] = [];
  for (const struct of Object.values(structs)) {
    const size = struct.name === "linux_dirent64" ? "offsetof(struct dirent64, d_name)" : undefined;
    lines.push(`printf("${struct.name} %zu\\n", ${size ?? `sizeof(struct ${struct.name})`});`);
    expected.push(`${struct.name} ${struct.size}`);
    for (const [field, offset] of Object.entries(struct.offsets)) {
      if (field.startsWith("__") || field === "f_spare") continue;
      lines.push(
        `printf("${struct.name}.${field} %zu\\n", offsetof(struct ${struct.name}, ${field}));`,
      );
      expected.push(`${struct.name}.${field} ${offset}`);
    }
  }
  const directory = mkdtempSync(join(tmpdir(), "posix-structs-"));
  try {
    const source = join(directory, "probe.c");
    writeFileSync(source, `${headers}int main(void) {\n${lines.join("\n")}\nreturn 0; }\n`);
    execFileSync("gcc", ["-o", join(directory, "probe"), source]);
    const printed = execFileSync(join(directory, "probe"), { encoding: "latin1" });
    expect(printed.trim().split("\n")).toEqual(expected);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
