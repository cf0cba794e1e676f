import fc from "fast-check";
import { expect, test } from "vitest";
import {
  kvm_debugregs,
  kvm_fpu,
  kvm_regs,
  kvm_sregs,
  kvm_vcpu_events,
  kvm_xcrs,
} from "../abi-x86.js";
import { KvmError } from "../errors.js";
import { decodeCpuid, encodeCpuid } from "./cpuid.js";
import {
  decodeDebugRegisters,
  decodeEvents,
  encodeDebugRegisters,
  encodeEvents,
} from "./events.js";
import { decodeFpu, decodeXcrs, encodeFpu, encodeXcrs } from "./fpu.js";
import {
  decodeRegisters,
  decodeSpecialRegisters,
  encodeRegisters,
  encodeSpecialRegisters,
} from "./general.js";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });

/** Whatever the kernel gives, decoding it, encoding that and decoding again loses nothing. */
function expectStable<T>(
  size: number,
  decode: (bytes: Uint8Array) => T,
  encode: (value: T) => Uint8Array,
): void {
  fc.assert(
    fc.property(bytes(size), (raw) => {
      const value = decode(raw);
      const encoded = encode(value);
      expect(encoded).toHaveLength(size);
      expect(decode(encoded)).toEqual(value);
    }),
  );
}

test("every bit of kvm_regs survives decoding and encoding", () => {
  fc.assert(
    fc.property(bytes(kvm_regs.size), (raw) => {
      expect(Buffer.from(encodeRegisters(decodeRegisters(raw)))).toEqual(Buffer.from(raw));
    }),
  );
});

test("special registers survive encoding and decoding", () => {
  expectStable(kvm_sregs.size, decodeSpecialRegisters, encodeSpecialRegisters);
});

test("the FPU state survives encoding and decoding", () => {
  expectStable(kvm_fpu.size, decodeFpu, encodeFpu);
});

test("extended control registers survive encoding and decoding, whatever count the bytes claim", () => {
  expectStable(kvm_xcrs.size, decodeXcrs, encodeXcrs);
});

test("events survive encoding and decoding", () => {
  expectStable(kvm_vcpu_events.size, decodeEvents, encodeEvents);
});

test("debug registers survive encoding and decoding", () => {
  expectStable(kvm_debugregs.size, decodeDebugRegisters, encodeDebugRegisters);
});

test("CPUID entries survive encoding and decoding, and a false count reads no further than the bytes", () => {
  const u32 = fc.nat(0xffff_ffff);
  const entry = fc.record({
    function: u32,
    index: u32,
    flags: u32,
    eax: u32,
    ebx: u32,
    ecx: u32,
    edx: u32,
  });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 20 }), u32, (entries, count) => {
      const encoded = Buffer.from(encodeCpuid(entries));
      expect(decodeCpuid(encoded)).toEqual(entries);
      encoded.writeUInt32LE(count);
      expect(decodeCpuid(encoded)).toEqual(entries.slice(0, count));
    }),
  );
});

test("more extended control registers than KVM has room for are refused", () => {
  const xcrs = Array.from({ length: 17 }, (_, xcr) => ({ xcr, value: 1n }));
  expect(() => encodeXcrs(xcrs)).toThrow(KvmError);
});
