import { expect, test } from "vitest";
import type { Suite } from "./suite.js";

/** `in` and `out`, single and repeated. Real mode, so the default operand size is 16 bits. */
export function testPortIo(suite: Suite): void {
  test("out reports port, size and value of byte, word and dword writes", () => {
    using machine = suite.machine({
      code: [
        ...[0xb0, 0x42], //                               mov al, 0x42
        ...[0xe6, 0x10], //                               out 0x10, al
        ...[0xb8, 0x34, 0x12], //                         mov ax, 0x1234
        ...[0xba, 0xf8, 0x03], //                         mov dx, 0x3f8
        ...[0xef], //                                     out dx, ax
        ...[0x66, 0xb8, 0x78, 0x56, 0x34, 0x12], //       mov eax, 0x12345678
        ...[0x66, 0xef], //                               out dx, eax
        ...[0xf4], //                                     hlt
      ],
    });
    expect(machine.runToHalt()).toEqual([
      { at: 0x10, length: 1, wrote: 0x42 },
      { at: 0x3f8, length: 2, wrote: 0x1234 },
      { at: 0x3f8, length: 4, wrote: 0x1234_5678 },
    ]);
  });

  test("what the host answers to in is what the guest reads", () => {
    using machine = suite.machine({
      code: [
        ...[0xe4, 0x20], //        in al, 0x20
        ...[0xe6, 0x21], //        out 0x21, al
        ...[0xba, 0x00, 0x04], //  mov dx, 0x400
        ...[0xed], //              in ax, dx
        ...[0xe7, 0x22], //        out 0x22, ax
        ...[0x66, 0xed], //        in eax, dx
        ...[0x66, 0xe7, 0x23], //  out 0x23, eax
        ...[0xf4], //              hlt
      ],
    });
    expect(machine.runToHalt([0x5a, 0xbeef, 0xdead_beef])).toEqual([
      { at: 0x20, length: 1 },
      { at: 0x21, length: 1, wrote: 0x5a },
      { at: 0x400, length: 2 },
      { at: 0x22, length: 2, wrote: 0xbeef },
      { at: 0x400, length: 4 },
      { at: 0x23, length: 4, wrote: 0xdead_beef },
    ]);
  });

  test("rep outsb delivers every byte of a string in order", () => {
    using machine = suite.machine({
      code: [
        ...[0xbe, 0x00, 0x20], //  mov si, 0x2000
        ...[0xb9, 0x05, 0x00], //  mov cx, 5
        ...[0xba, 0x10, 0x00], //  mov dx, 0x10
        ...[0xfc], //              cld
        ...[0xf3, 0x6e], //        rep outsb
        ...[0xf4], //              hlt
      ],
    });
    machine.memory.set(Buffer.from("hello"), 0x2000);
    const written = machine.runToHalt().map(({ wrote }) => Number(wrote));
    expect(Buffer.from(written).toString()).toBe("hello");
  });

  test("rep insw stores every word that the host answers", () => {
    using machine = suite.machine({
      code: [
        ...[0xbf, 0x00, 0x20], //  mov di, 0x2000
        ...[0xb9, 0x03, 0x00], //  mov cx, 3
        ...[0xba, 0x10, 0x00], //  mov dx, 0x10
        ...[0xfc], //              cld
        ...[0xf3, 0x6d], //        rep insw
        ...[0xf4], //              hlt
      ],
    });
    expect(machine.runToHalt([0x1111, 0x2222, 0x3333])).toHaveLength(3);
    expect([...machine.memory.subarray(0x2000, 0x2008)]).toEqual([
      0x11, 0x11, 0x22, 0x22, 0x33, 0x33, 0, 0,
    ]);
  });

  test("the value of an exit is its first item, read and written at its size", () => {
    using machine = suite.machine({
      // in ax, 0x20; out 0x21, ax; hlt
      code: [0xe5, 0x20, 0xe7, 0x21, 0xf4],
    });
    machine.run();
    expect(machine.vcpu.exit.isWrite).toBe(false);
    machine.vcpu.exit.value = 0x1234;
    machine.run();
    expect(machine.vcpu.exit.isWrite).toBe(true);
    expect(machine.vcpu.exit.value).toBe(0x1234);
    expect(machine.vcpu.exit.describe()).toMatch(/0x21/);
  });
}

/** Accesses to addresses that no memory slot backs: above 64 KiB here. */
export function testMmio(suite: Suite): void {
  const loadSegment = [
    ...[0xb8, 0x00, 0x20], //  mov ax, 0x2000
    ...[0x8e, 0xd8], //        mov ds, ax: ds:0 is 0x20000
  ];

  test("writes report address, length and value for 1, 2 and 4 bytes", () => {
    using machine = suite.machine({
      code: [
        ...loadSegment,
        ...[0xc6, 0x06, 0x00, 0x00, 0x11], //                          mov byte [0], 0x11
        ...[0xc7, 0x06, 0x04, 0x00, 0x33, 0x22], //                    mov word [4], 0x2233
        ...[0x66, 0xc7, 0x06, 0x08, 0x00, 0x77, 0x66, 0x55, 0x44], //  mov dword [8], 0x44556677
        ...[0xf4], //                                                  hlt
      ],
    });
    expect(machine.runToHalt()).toEqual([
      { at: 0x2_0000, length: 1, wrote: 0x11 },
      { at: 0x2_0004, length: 2, wrote: 0x2233 },
      { at: 0x2_0008, length: 4, wrote: 0x4455_6677 },
    ]);
  });

  test("reads of 1, 2 and 4 bytes get what the host answers", () => {
    using machine = suite.machine({
      code: [
        ...loadSegment,
        ...[0xa0, 0x00, 0x00], //        mov al, [0]
        ...[0xe6, 0x10], //              out 0x10, al
        ...[0xa1, 0x04, 0x00], //        mov ax, [4]
        ...[0xe7, 0x10], //              out 0x10, ax
        ...[0x66, 0xa1, 0x08, 0x00], //  mov eax, [8]
        ...[0x66, 0xe7, 0x10], //        out 0x10, eax
        ...[0xf4], //                    hlt
      ],
    });
    expect(machine.runToHalt([0x99, 0xcafe, 0xfeed_face])).toEqual([
      { at: 0x2_0000, length: 1 },
      { at: 0x10, length: 1, wrote: 0x99 },
      { at: 0x2_0004, length: 2 },
      { at: 0x10, length: 2, wrote: 0xcafe },
      { at: 0x2_0008, length: 4 },
      { at: 0x10, length: 4, wrote: 0xfeed_face },
    ]);
  });

  test("an 8-byte read and write in 64-bit mode are one exit each", () => {
    using machine = suite.machine({
      mode: "long",
      code: [
        ...[0xbb, 0x00, 0x00, 0x10, 0x00], //  mov ebx, 0x100000
        ...[0x48, 0x8b, 0x0b], //              mov rcx, [rbx]
        ...[0x48, 0x89, 0x4b, 0x08], //        mov [rbx + 8], rcx
        ...[0xf4], //                          hlt
      ],
    });
    expect(machine.runToHalt([0x1122_3344_5566_7788n])).toEqual([
      { at: 0x10_0000, length: 8 },
      { at: 0x10_0008, length: 8, wrote: 0x1122_3344_5566_7788n },
    ]);
  });
}
