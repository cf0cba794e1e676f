import { setupHeader } from "../src/boot/boot-params.js";
import { PAGE_TABLES_ADDRESS } from "../src/memory-map.js";

/** Hand-assembled x86-64 instructions. */
export const assemble = {
  /** mov dx, 0x3f8; then mov al, byte; out dx, al for each byte. */
  print: (text: string) => [
    ...[0x66, 0xba, 0xf8, 0x03],
    ...[...Buffer.from(text, "latin1")].flatMap((byte) => [0xb0, byte, 0xee]),
  ],
  /** mov al, 0xfe; out 0x64, al: the reset line of the keyboard controller. */
  reset: () => [0xb0, 0xfe, 0xe6, 0x64],
  /** mov dx, 0x600; mov al, 0x34; out dx, al: soft off, and go. */
  turnOff: () => [0x66, 0xba, 0x00, 0x06, 0xb0, 0x34, 0xee],
  /** push 0; push 0; lidt [rsp]; mov rax, -2 GiB; mov eax, [rax]: a page fault without handlers. */
  tripleFault: () => [
    ...[0x6a, 0x00, 0x6a, 0x00, 0x0f, 0x01, 0x1c, 0x24],
    ...[0x48, 0xc7, 0xc0, 0x00, 0x00, 0x00, 0x80, 0x8b, 0x00],
  ],
  /** jmp $ */
  spin: () => [0xeb, 0xfe],
  /** mov eax, imm32; mov eax, [rax]; al becomes its low byte. */
  load: (address: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(address);
    return [0xb8, ...bytes, 0x8b, 0x00];
  },
  /**
   * mov rax, imm64; mov [moffs64], rax: makes the 2 MiB at {@link assemble.distant} those at a guest-physical
   * address that is a multiple of 2 MiB.
   */
  mapDistant: (guestAddress: number) => {
    const bytes = Buffer.alloc(20);
    bytes.set([0x48, 0xb8]);
    bytes.writeBigUInt64LE(BigInt(guestAddress) | 0x83n, 2); // a large page, present and writable
    bytes.set([0x48, 0xa3], 10);
    // The tables that the machine starts with: two, then a directory for each GiB; this is the third's.
    bytes.writeBigUInt64LE(BigInt(PAGE_TABLES_ADDRESS + 4 * 4096), 12);
    return [...bytes];
  },
  distant: 0x8000_0000,
  /**
   * Counts for ever in the byte at 2 MiB, and prints each number as a byte with a newline behind it:
   * mov dx, 0x3f8; then mov ecx, 20000; loop $; inc dword [0x200000]; mov al, [0x200000]; out dx, al;
   * mov al, 10; out dx, al; jmp to the second.
   */
  count: () => [
    ...[0x66, 0xba, 0xf8, 0x03],
    ...[0xb9, 0x20, 0x4e, 0x00, 0x00, 0xe2, 0xfe],
    ...[0xff, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00],
    ...[0x8a, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00, 0xee],
    ...[0xb0, 0x0a, 0xee, 0xeb, 0xe5],
  ],
  /** mov dx, 0x3f8; then four times out dx, al; shr eax, 8. */
  printEax: () => [
    ...[0x66, 0xba, 0xf8, 0x03],
    ...Array.from({ length: 4 }, () => [0xee, 0xc1, 0xe8, 0x08]).flat(),
  ],
};

/** A file that passes for a bzImage and whose 64-bit entry point holds `code`. */
export function tinyKernel(code: readonly number[]): Uint8Array {
  const bytes = Buffer.alloc(1024 + 0x200 + code.length);
  const header = setupHeader.decode(bytes, 0x1f1);
  setupHeader.encode(
    {
      ...header,
      setup_sects: 1,
      header: 0x53726448,
      version: 0x20f,
      xloadflags: 1,
      cmdline_size: 2047,
      initrd_addr_max: 0x7fff_ffff,
      pref_address: 0x100_0000n,
      init_size: 0x10_0000,
    },
    bytes,
    0x1f1,
  );
  bytes.set(code, 1024 + 0x200);
  return bytes;
}
