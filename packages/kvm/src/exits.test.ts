import { ExitReason } from "@supermachine/hypervisor";
import fc from "fast-check";
import { expect, test } from "vitest";
import { kvm_run, kvm_run_emulation_failure, kvm_run_io, kvm_run_mmio } from "./abi.js";
import { KvmExit } from "./exits.js";
import { constants } from "./numbers.js";

/** A run page as the kernel lays it out: the page itself, then the port I/O page. */
function createPage(reason: number): Buffer {
  const page = Buffer.from(new ArrayBuffer(3 * 4096));
  page.writeUInt32LE(reason, kvm_run.offsets.exit_reason);
  return page;
}

const exitOf = (page: Buffer) => new KvmExit(page.buffer as ArrayBuffer);
const union = kvm_run.size;

test("port I/O is read from where data_offset says", () => {
  const page = createPage(constants.KVM_EXIT_IO);
  kvm_run_io.encode(
    { direction: 1, size: 2, port: 0x3f8, count: 3, data_offset: 8192n },
    page,
    union,
  );
  page.writeUInt16LE(0xbeef, 8192);
  const exit = exitOf(page);
  expect(exit.reason).toBe(ExitReason.IO);
  expect([exit.port, exit.size, exit.count, exit.length, exit.isWrite, exit.value]).toEqual([
    0x3f8,
    2,
    3,
    6,
    true,
    0xbeef,
  ]);
  expect(exit.data).toBe(exit.data);
});

test("an MMIO address above 4 GiB is exact", () => {
  const page = createPage(constants.KVM_EXIT_MMIO);
  const address = 0xf_ffff_ffff_f000n;
  kvm_run_mmio.encode(
    {
      phys_addr: address,
      data: Buffer.from("1122334455667788", "hex"),
      len: 4,
      is_write: 1,
      _pad: new Uint8Array(3),
    },
    page,
    union,
  );
  const exit = exitOf(page);
  expect(BigInt(exit.address)).toBe(address);
  expect([exit.length, exit.isWrite, exit.value]).toEqual([4, true, 0x4433_2211]);
});

test("answering an 8-byte MMIO read by value clears the upper half", () => {
  const page = createPage(constants.KVM_EXIT_MMIO);
  page.writeUInt32LE(8, union + kvm_run_mmio.offsets.len);
  page.fill(0xff, union + kvm_run_mmio.offsets.data, union + kvm_run_mmio.offsets.data + 8);
  const exit = exitOf(page);
  exit.value = 7;
  expect(exit.data.getBigUint64(0, true)).toBe(7n);
});

test("an instruction that could not be emulated is named by its bytes", () => {
  const page = createPage(constants.KVM_EXIT_INTERNAL_ERROR);
  const instruction = Buffer.alloc(15);
  instruction.set([0x0f, 0x0b]);
  kvm_run_emulation_failure.encode(
    { suberror: 1, ndata: 3, flags: 1n, insn_size: 2, insn_bytes: instruction },
    page,
    union,
  );
  const exit = exitOf(page);
  expect(exit.reason).toBe(ExitReason.INTERNAL_ERROR);
  expect(exit.describe()).toMatch(/could not be emulated: 0f0b$/);
});

test("any page can be described", () => {
  const anyPage = fc.uint8Array({ minLength: 4096, maxLength: 4096 });
  fc.assert(
    fc.property(anyPage, fc.nat(70), (bytes, reason) => {
      const page = createPage(reason);
      page.set(bytes.subarray(union), union);
      const exit = exitOf(page);
      expect(exit.describe()).toMatch(/^KVM/);
      expect(Object.values(ExitReason)).toContain(exit.reason);
    }),
  );
});
