import { probeHeaders, requireFacility, structLayout } from "@supermachine-internal/testing";
import { expect } from "vitest";
import {
  bootE820Entry,
  E820_ENTRIES_OFFSET,
  E820_TABLE_OFFSET,
  SETUP_HEADER_OFFSET,
  setupHeader,
} from "../src/boot/boot-params.js";

requireFacility("linux", "x86-64", "program:cc").test(
  "boot parameters are laid out as in <asm/bootparam.h>",
  () => {
    const declared = new Map<string, bigint>([
      ...structLayout(setupHeader),
      ["sizeof(struct boot_e820_entry)", BigInt(bootE820Entry.size)],
      ["offsetof(struct boot_params, hdr)", BigInt(SETUP_HEADER_OFFSET)],
      ["offsetof(struct boot_params, e820_entries)", BigInt(E820_ENTRIES_OFFSET)],
      ["offsetof(struct boot_params, e820_table)", BigInt(E820_TABLE_OFFSET)],
    ]);
    const headers = ["asm/bootparam.h"];
    expect(probeHeaders({ headers, expressions: declared.keys() })).toEqual(declared);
  },
);
