import { expect, test } from "vitest";
import { ExitReason } from "../exit.js";
import type { Suite } from "./suite.js";

/** Halting, failing, and 64-bit mode. */
export function testModes(suite: Suite): void {
  test("hlt without an interrupt controller is an exit, and the guest goes on after it", () => {
    // hlt; out 0x10, al; hlt
    using machine = suite.machine({ code: [0xf4, 0xe6, 0x10, 0xf4] });
    machine.runTo(ExitReason.HLT);
    expect(machine.runTo(ExitReason.IO).port).toBe(0x10);
    machine.runTo(ExitReason.HLT);
  });

  test("a triple fault is a shutdown", () => {
    using machine = suite.machine({
      mode: "long",
      code: [
        ...[0x0f, 0x01, 0x1c, 0x25, 0x00, 0x20, 0x00, 0x00], //  lidt [0x2000]: zeros, an empty table
        ...[0x0f, 0x0b], //                                      ud2
      ],
    });
    machine.runTo(ExitReason.SHUTDOWN);
  });

  test("64-bit code runs through page tables", () => {
    using machine = suite.machine({
      mode: "long",
      code: [
        ...[0x48, 0xb8, 0, 0, 0, 0, 1, 0, 0, 0], //  mov rax, 0x100000000
        ...[0x48, 0xc1, 0xe8, 0x20], //              shr rax, 32
        ...[0x83, 0xc0, 0x41], //                    add eax, 0x41
        ...[0xe6, 0x10], //                          out 0x10, al
        ...[0xf4], //                                hlt
      ],
    });
    expect(machine.runToHalt()).toEqual([{ at: 0x10, length: 1, wrote: 0x42 }]);
  });
}
