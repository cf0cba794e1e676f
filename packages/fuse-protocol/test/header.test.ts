import { execFileSync } from "node:child_process";
import type { Struct } from "@supermachine-internal/struct";
import { probeHeaders, requireFacility, structLayout } from "@supermachine-internal/testing";
import { beforeAll, expect, it } from "vitest";
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

const newFields = new Set(newerThan738.fields);
const newStructs = new Set(newerThan738.structs);
const newConstants = new Set(newerThan738.constants);

const header = "/usr/include/linux/fuse.h";
const preprocess = (...flags: string[]) =>
  execFileSync("cc", ["-E", ...flags, header], { encoding: "utf8" });

const { describe } = requireFacility("linux", "program:cc", `file:${header}`);

describe("the C header of this machine", () => {
  let isOld: boolean;
  beforeAll(() => {
    isOld = Number(/FUSE_KERNEL_MINOR_VERSION (\d+)/.exec(preprocess("-dM"))?.[1]) < 45;
  });
  const probe = (expressions: Iterable<string>) =>
    probeHeaders({ headers: ["sys/ioctl.h", "linux/fuse.h"], expressions });

  it("has every struct with the size and offsets we declare", () => {
    const declared = new Map(
      structs
        .filter(({ name }) => !isOld || !newStructs.has(name))
        .flatMap((struct) =>
          structLayout(struct, (field) => isOld && newFields.has(`${struct.name}.${field}`)),
        ),
    );
    expect(declared.size).toBeGreaterThan(250);
    expect(probe(declared.keys())).toEqual(declared);
  });

  it("has every constant with the value we declare", () => {
    const declared = new Map(
      constants
        .filter(([name]) => !isOld || !newConstants.has(name))
        // 1 << 31 is a negative int in the header.
        .map(([name, value]) => [
          name === "FUSE_INIT_RESERVED" ? `(unsigned)${name}` : name,
          BigInt(value),
        ]),
    );
    expect(declared.size).toBeGreaterThan(140);
    expect(probe(declared.keys())).toEqual(declared);
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
});
