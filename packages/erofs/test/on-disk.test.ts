import { execFileSync } from "node:child_process";
import {
  probeHeaders,
  requireFacility,
  structLayout,
  TemporaryDirectory,
} from "@supermachine-internal/testing";
import { expect } from "vitest";
import {
  dirent,
  inodeCompact,
  inodeExtended,
  superBlock,
  xattrEntry,
  xattrIbodyHeader,
} from "../src/on-disk.js";

/** Of Debian's linux-source-6.1: the header is the kernel's own, no package installs it. */
const tarball = "/usr/src/linux-source-6.1.tar.xz";
const header = "linux-source-6.1/fs/erofs/erofs_fs.h";

/** What the header takes from the rest of the kernel. */
const prelude = `
#include <linux/types.h>
#include <stdbool.h>
typedef __u8 u8;
#define __packed __attribute__((packed))
#define BUILD_BUG_ON(x)
#define BIT(n) (1UL << (n))
#define le16_to_cpu(x) (x)
#define cpu_to_le64(x) (x)
#define round_up(x, y) ((((x) - 1) | ((y) - 1)) + 1)
`;

requireFacility("program:cc", "program:tar", "program:xz", `file:${tarball}`).test(
  "every struct has the size and offsets of the kernel's header",
  () => {
    using directory = new TemporaryDirectory();
    execFileSync("tar", ["-C", directory.path, "--occurrence=1", "-xf", tarball, header]);
    const structs = [superBlock, inodeCompact, inodeExtended, xattrIbodyHeader, xattrEntry, dirent];
    const declared = new Map(structs.flatMap((struct) => structLayout(struct)));
    const probe = { prelude, flags: ["-I", directory.path], headers: [header] };
    expect(probeHeaders({ ...probe, expressions: declared.keys() })).toEqual(declared);
  },
  60_000,
);
