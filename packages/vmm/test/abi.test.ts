import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import {
  bootE820Entry,
  E820_ENTRIES_OFFSET,
  E820_TABLE_OFFSET,
  SETUP_HEADER_OFFSET,
  setupHeader,
} from "../src/boot/boot-params.js";

test("boot parameters are laid out as in <asm/bootparam.h>", () => {
  const fields = Object.keys(setupHeader.offsets);
  const source = `
    #include <stddef.h>
    #include <stdio.h>
    #include <asm/bootparam.h>
    int main(void) {
      printf("%zu %zu %zu %zu %zu\\n", sizeof(struct setup_header), sizeof(struct boot_e820_entry),
        offsetof(struct boot_params, hdr), offsetof(struct boot_params, e820_entries),
        offsetof(struct boot_params, e820_table));
      ${fields.map((f) => `printf("%zu\\n", offsetof(struct setup_header, ${f}));`).join("\n")}
    }`;
  const directory = mkdtempSync(join(tmpdir(), "vmm-abi-"));
  try {
    writeFileSync(join(directory, "probe.c"), source);
    execFileSync("cc", ["-o", "probe", "probe.c"], { cwd: directory });
    const output = execFileSync(join(directory, "probe")).toString().trim();
    const [sizes, ...offsets] = output.split("\n");
    expect(sizes).toBe(
      [
        setupHeader.size,
        bootE820Entry.size,
        SETUP_HEADER_OFFSET,
        E820_ENTRIES_OFFSET,
        E820_TABLE_OFFSET,
      ].join(" "),
    );
    expect(offsets.map(Number)).toEqual(Object.values(setupHeader.offsets));
  } finally {
    rmSync(directory, { recursive: true });
  }
});
