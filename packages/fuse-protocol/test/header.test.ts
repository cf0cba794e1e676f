import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Struct } from "@supermachine-internal/struct";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as protocol from "../src/index.js";

/** Declared here, and absent from the oldest header this test is meant to pass with (7.38). */
const newerThan738 = {
  structs: [
    "fuse_statx",
    "fuse_statx_in",
    "fuse_statx_out",
    "fuse_sx_time",
    "fuse_ext_header",
    "fuse_supp_groups",
    "fuse_backing_map",
    "fuse_copy_file_range_out",
    "fuse_notify_prune_out",
    "fuse_uring_cmd_req",
    "fuse_uring_ent_in_out",
    "fuse_uring_req_header",
  ],
  fields: [
    "fuse_init_out.max_stack_depth",
    "fuse_init_out.unused",
    "fuse_init_out.request_timeout",
    "fuse_open_out.backing_id",
  ],
  constants: [
    "FUSE_EXT_GROUPS",
    "FUSE_CREATE_SUPP_GROUP",
    "FUSE_UNIQUE_RESEND",
    "FUSE_DIRECT_IO_ALLOW_MMAP",
    "FUSE_PASSTHROUGH",
    "FUSE_NO_EXPORT_SUPPORT",
    "FUSE_HAS_RESEND",
    "FUSE_ALLOW_IDMAP",
    "FUSE_OVER_IO_URING",
    "FUSE_REQUEST_TIMEOUT",
    "FOPEN_PASSTHROUGH",
    "FUSE_NOTIFY_RESEND",
    "FUSE_NOTIFY_INC_EPOCH",
    "FUSE_NOTIFY_PRUNE",
    "FUSE_STATX",
    "FUSE_COPY_FILE_RANGE_64",
    "FUSE_DEV_IOC_BACKING_OPEN",
    "FUSE_DEV_IOC_BACKING_CLOSE",
    "FUSE_DEV_IOC_SYNC_INIT",
    "FUSE_URING_IN_OUT_HEADER_SZ",
    "FUSE_URING_OP_IN_OUT_SZ",
    "FUSE_IO_URING_CMD_INVALID",
    "FUSE_IO_URING_CMD_REGISTER",
    "FUSE_IO_URING_CMD_COMMIT_AND_FETCH",
  ],
};

const isStruct = (value: unknown): value is Struct =>
  typeof value === "object" && value !== null && "offsets" in value && "size" in value;

const declarations: [string, unknown][] = Object.entries(protocol);
const structs = declarations.map((entry) => entry[1]).filter(isStruct);
const constants = declarations.filter(
  (entry): entry is [string, number | bigint] =>
    /^(FUSE|FOPEN|FATTR|CUSE)_/.test(entry[0]) && entry[0] !== "FUSE_KERNEL_MINOR_VERSION",
);

const oldFields = new Set(newerThan738.fields);
const oldStructs = new Set(newerThan738.structs);
const oldConstants = new Set(newerThan738.constants);

const header = "/usr/include/linux/fuse.h";
const haveCompiler = (() => {
  try {
    execFileSync("cc", ["--version"], { stdio: "ignore" });
    return existsSync(header);
  } catch {
    return false;
  }
})();
if (!haveCompiler) process.stderr.write(`skipped: needs cc and ${header}\n`);

function probeSource(old: boolean): string {
  const lines = ["#include <stddef.h>", "#include <stdio.h>", "#include <sys/ioctl.h>"];
  lines.push("#include <linux/fuse.h>", "int main(void) {");
  for (const struct of structs) {
    if (old && oldStructs.has(struct.name)) continue;
    lines.push(`printf("${struct.name} %zu\\n", sizeof(struct ${struct.name}));`);
    for (const field of Object.keys(struct.offsets)) {
      const name = `${struct.name}.${field}`;
      if (old && oldFields.has(name)) continue;
      lines.push(`printf("${name} %zu\\n", offsetof(struct ${struct.name}, ${field}));`);
    }
  }
  for (const [name] of constants) {
    if (old && oldConstants.has(name)) continue;
    // 1 << 31 is a negative int in the header.
    const unsigned = name === "FUSE_INIT_RESERVED" ? "(unsigned)" : "";
    lines.push(`printf("${name} %llu\\n", (unsigned long long)${unsigned}(${name}));`);
  }
  lines.push("return 0; }");
  return lines.join("\n");
}

describe.skipIf(!haveCompiler)(
  `the C header of this machine${haveCompiler ? "" : " [needs program:gcc: a C compiler]"}`,
  () => {
    const directory = mkdtempSync(join(tmpdir(), "fuse-header-"));
    const values = new Map<string, bigint>();
    let minor = 0;

    beforeAll(() => {
      minor = Number(
        execFileSync("cc", ["-E", "-dM", header], { encoding: "utf8" }).match(
          /FUSE_KERNEL_MINOR_VERSION (\d+)/,
        )?.[1],
      );
      const source = join(directory, "probe.c");
      writeFileSync(source, probeSource(minor < 45));
      execFileSync("cc", ["-o", join(directory, "probe"), source]);
      for (const line of execFileSync(join(directory, "probe"), { encoding: "utf8" }).split("\n")) {
        const [name, value] = line.split(" ");
        if (name !== undefined && value !== undefined) values.set(name, BigInt(value));
      }
    });
    afterAll(() => rmSync(directory, { recursive: true }));

    it.each(structs.map((struct) => [struct.name, struct] as const))(
      "struct %s has the size and offsets of the header",
      (name, struct) => {
        if (minor < 45 && oldStructs.has(name)) {
          expect(values.has(name)).toBe(false);
          return;
        }
        const expected: Record<string, number> = { size: struct.size };
        const found: Record<string, number> = { size: Number(values.get(name)) };
        for (const [field, offset] of Object.entries(struct.offsets)) {
          if (minor < 45 && oldFields.has(`${name}.${field}`)) continue;
          expected[field] = offset;
          found[field] = Number(values.get(`${name}.${field}`));
        }
        expect(expected).toEqual(found);
      },
    );

    it("gives every constant the value we declare", () => {
      const expected: Record<string, bigint> = {};
      const found: Record<string, bigint | undefined> = {};
      for (const [name, value] of constants) {
        if (minor < 45 && oldConstants.has(name)) continue;
        expected[name] = BigInt(value);
        found[name] = values.get(name);
      }
      expect(found).toEqual(expected);
      expect(Object.keys(expected).length).toBeGreaterThan(140);
    });

    it("declares no struct, opcode or flag that we lack", () => {
      const text = execFileSync("cc", ["-E", "-dM", header], { encoding: "utf8" });
      const plain = execFileSync("cc", ["-E", "-P", header], { encoding: "utf8" });
      const known = new Set(Object.keys(protocol));
      const declared = [
        ...[...text.matchAll(/^#define ((?:FUSE|FOPEN|FATTR|CUSE)_\w+)\s/gm)].map((m) => m[1]),
        ...[...plain.matchAll(/((?:FUSE|CUSE)_\w+)\s*=/g)].map((m) => m[1]),
        ...[...plain.matchAll(/struct ((?:fuse|cuse)_\w+) \{/g)].map((m) => m[1]),
      ];
      const left = declared.filter((name) => name !== undefined && !known.has(name)).sort();
      expect(left).toEqual([
        "FUSE_DEV_IOC_MAGIC",
        "FUSE_NAME_OFFSET",
        "FUSE_NAME_OFFSET_DIRENTPLUS",
        "FUSE_REMOVEMAPPING_MAX_ENTRY",
        "FUSE_WRITE_KILL_PRIV",
      ]);
    });
  },
);
