import { probeHeaders, requireFacility, structLayout } from "@supermachine-internal/testing";
import { expect, it } from "vitest";
import * as abi from "./abi.js";

requireFacility("program:cc", "file:/usr/include/linux/io_uring.h").describe("io_uring", () => {
  it("is declared as in the C header", () => {
    const structs = [
      abi.io_sqring_offsets,
      abi.io_cqring_offsets,
      abi.io_uring_params,
      abi.io_uring_sqe,
      abi.io_uring_cqe,
    ];
    // Reserved words have other names from one header to the next.
    const declared = new Map<string, bigint>(
      structs.flatMap((struct) => structLayout(struct, (field) => field.startsWith("resv"))),
    );
    for (const [name, value] of Object.entries(abi)) {
      if (typeof value === "number" && name.startsWith("IORING_"))
        declared.set(name, BigInt(value));
    }
    const values = probeHeaders({
      headers: ["linux/types.h", "linux/io_uring.h"],
      expressions: declared.keys(),
    });
    expect(values).toEqual(declared);
  });
});
