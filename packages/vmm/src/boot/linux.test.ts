import { GuestMemory } from "@supermachine/virtio";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect, test } from "vitest";
import { VmmError } from "../errors.js";
import { ACPI_ADDRESS, ramRanges } from "../memory-map.js";
import {
  ACPI_RSDP_OFFSET,
  E820_ENTRIES_OFFSET,
  E820_RESERVED,
  E820_TABLE_OFFSET,
  SETUP_HEADER_OFFSET,
  setupHeader,
} from "./boot-params.js";
import { type BootFile, loadLinux } from "./linux.js";

const MEMORY_MIB = 32;
const ram = ramRanges(MEMORY_MIB);
const buffer = new ArrayBuffer(MEMORY_MIB * 1024 * 1024);
const memory = new GuestMemory([{ guestAddress: 0, buffer }]);

function bootFile(name: string, bytes: Uint8Array): BootFile {
  return {
    name,
    size: bytes.length,
    read: (target, position) => target.set(bytes.subarray(position, position + target.length)),
  };
}

/** A kernel file with a valid header and a recognisable payload. */
function kernelBytes(changes: Partial<ReturnType<typeof setupHeader.decode>> = {}): Uint8Array {
  const bytes = new Uint8Array(8192);
  const blank = setupHeader.decode(bytes, SETUP_HEADER_OFFSET);
  const header = {
    ...blank,
    setup_sects: 1,
    header: 0x53726448,
    version: 0x20f,
    xloadflags: 1,
    cmdline_size: 2047,
    initrd_addr_max: 0x7fff_ffff,
    pref_address: 0x100_0000n,
    init_size: 0x10_0000,
    ...changes,
  };
  setupHeader.encode(header, bytes, SETUP_HEADER_OFFSET);
  bytes.fill(0xcc, 1024);
  return bytes;
}

const load = (kernel: Uint8Array, commandLine = "console=ttyS0", initrd?: Uint8Array) =>
  loadLinux(memory, ram, {
    kernel: bootFile("vmlinuz", kernel),
    initrd: initrd && bootFile("initrd", initrd),
    commandLine,
  });

test("the payload, command line, RAM disk and memory map land where the header says", () => {
  const entry = load(kernelBytes(), "a=1", new Uint8Array(5000).fill(0xee));
  expect(entry).toEqual({ entryPoint: 0x100_0200, bootParams: 0x7000 });
  const bytes = Buffer.from(buffer);
  expect(bytes[0x100_0000]).toBe(0xcc);
  const header = setupHeader.decode(bytes, 0x7000 + SETUP_HEADER_OFFSET);
  expect(bytes.toString("latin1", header.cmd_line_ptr, header.cmd_line_ptr + 4)).toBe("a=1\0");
  expect(header.ramdisk_size).toBe(5000);
  expect(header.ramdisk_image % 4096).toBe(0);
  expect(bytes[header.ramdisk_image + 4999]).toBe(0xee);
  expect(bytes[0x7000 + E820_ENTRIES_OFFSET]).toBe(2);
  expect(bytes.readBigUInt64LE(0x7000 + E820_TABLE_OFFSET + 20)).toBe(0x10_0000n);
});

test("a machine's ACPI tables are named to the kernel, and are not its memory", () => {
  const kernel = bootFile("vmlinuz", kernelBytes());
  loadLinux(memory, ram, { kernel, commandLine: "", acpiRoot: ACPI_ADDRESS });
  const params = Buffer.from(buffer, 0x7000, 4096);
  expect(params.readBigUInt64LE(ACPI_RSDP_OFFSET)).toBe(BigInt(ACPI_ADDRESS));
  expect(params[E820_ENTRIES_OFFSET]).toBe(3);
  const second = params.subarray(E820_TABLE_OFFSET + 20);
  expect(second.readBigUInt64LE(0)).toBe(BigInt(ACPI_ADDRESS));
  expect(second.readUInt32LE(16)).toBe(E820_RESERVED);
});

test.each([
  ["an empty file", new Uint8Array(0)],
  ["text", Buffer.from("#!/bin/sh\n".repeat(200))],
  ["no magic", kernelBytes({ header: 0 })],
  ["an old protocol", kernelBytes({ version: 0x204 })],
  ["a 32-bit kernel", kernelBytes({ xloadflags: 0 })],
  ["only setup code", kernelBytes({ setup_sects: 60 })],
])("%s is refused as no kernel", (_, bytes) => {
  expect(() => load(bytes)).toThrow(expect.objectContaining({ code: "ERR_VMM_NOT_A_KERNEL" }));
});

test("a kernel or RAM disk that does not fit asks for more memory", () => {
  const tooSmall = expect.objectContaining({ code: "ERR_VMM_MEMORY_TOO_SMALL" });
  expect(() => load(kernelBytes({ init_size: 0x7fff_ffff }))).toThrow(tooSmall);
  expect(() => load(kernelBytes({ pref_address: 1n << 60n }))).toThrow(tooSmall);
  expect(() => load(kernelBytes(), "", new Uint8Array(20 * 1024 * 1024))).toThrow(tooSmall);
});

test("a command line longer than the kernel takes is refused", () => {
  expect(() => load(kernelBytes(), "x".repeat(2048))).toThrow(
    expect.objectContaining({ code: "ERR_VMM_COMMAND_LINE" }),
  );
});

test("whatever the header says, loading works or fails with a VmmError", () => {
  const pristine = kernelBytes();
  fc.assert(
    fc.property(
      fc.array(
        fc.tuple(
          fc.integer({ min: 0, max: setupHeader.size - 1 }),
          fc.integer({ min: 0, max: 255 }),
        ),
        {
          maxLength: 40,
        },
      ),
      (changes) => {
        const bytes = pristine.slice();
        for (const [at, value] of changes) bytes[SETUP_HEADER_OFFSET + at] = value;
        try {
          load(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(VmmError);
        }
      },
    ),
    { numRuns: runs(500) },
  );
});
