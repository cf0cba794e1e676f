import { probeHeaders, requireFacility, structLayout } from "@supermachine-internal/testing";
import { expect } from "vitest";
import * as structs from "./structs.js";

const prelude = "#define _GNU_SOURCE\n#define linux_dirent64 dirent64";
const headers = [
  "dirent.h",
  "fcntl.h",
  "sys/resource.h",
  "sys/uio.h",
  "sys/vfs.h",
  "time.h",
  "linux/capability.h",
  "linux/openat2.h",
  "linux/stat.h",
];

/** Padding, which the headers name otherwise or not at all. */
const isOurs = (field: string) => field.startsWith("__") || field === "f_spare";

requireFacility("linux", "program:cc").test(
  "structs have the sizes and offsets of the C headers",
  () => {
    const declared = new Map(
      Object.values(structs).flatMap((struct) => structLayout(struct, isOurs)),
    );
    // The C library's dirent64 ends with an array for the longest name; the kernel's has none.
    declared.delete("sizeof(struct linux_dirent64)");
    declared.set("offsetof(struct linux_dirent64, d_name)", BigInt(structs.direntStruct.size));
    expect(probeHeaders({ prelude, headers, expressions: declared.keys() })).toEqual(declared);
  },
);
