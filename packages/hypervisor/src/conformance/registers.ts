import { expect, test } from "vitest";
import { X86MpState } from "../x86.js";
import type { Suite } from "./suite.js";

const IA32_SYSENTER_EIP = 0x176;
const IA32_KERNEL_GS_BASE = 0xc000_0102;
/** Offsets in the XSAVE area (Intel SDM volume 1, 13.4); the header maps what is not in its initial state. */
const XSAVE_XMM0 = 160;
const XSAVE_HEADER = 512;
const X87_AND_SSE = 3;
const CR4_OSFXSR = 0x200n;
const CPUID_1_ECX_XSAVE = 1 << 26;

/** Whether what is set is what is read, by host and guest. */
export function testRegisters(suite: Suite): void {
  const halt = { code: [0xf4] };

  test("general registers keep what is set, and the guest computes with them", () => {
    using machine = suite.machine({
      mode: "long",
      // add rax, r15; out 0x10, eax; hlt
      code: [0x4c, 0x01, 0xf8, 0xe7, 0x10, 0xf4],
    });
    const registers = {
      ...machine.x86.getRegisters(),
      rax: 0x1111_0000_0000_0001n,
      rbx: 0xffff_ffff_ffff_ffffn,
      r15: 0x2222_0000_0000_0041n,
    };
    machine.x86.setRegisters(registers);
    expect(machine.x86.getRegisters()).toEqual(registers);
    expect(machine.runToHalt()).toEqual([{ at: 0x10, length: 4, wrote: 0x42 }]);
    expect(machine.x86.getRegisters().rax).toBe(0x3333_0000_0000_0042n);
  });

  test("special registers keep what is set", () => {
    using machine = suite.machine({ ...halt, mode: "long" });
    const registers = machine.x86.getSpecialRegisters();
    registers.fs = { ...registers.fs, base: 0x1234_5000n };
    registers.gdt = { base: 0x500n, limit: 31 };
    registers.cr2 = 0xdead_0000n;
    machine.x86.setSpecialRegisters(registers);
    expect(machine.x86.getSpecialRegisters()).toEqual(registers);
  });

  test("an MSR set by the host is what the guest reads, and the other way round", () => {
    using machine = suite.machine({
      code: [
        ...[0x66, 0xb9, 0x76, 0x01, 0x00, 0x00], //  mov ecx, IA32_SYSENTER_EIP
        ...[0x0f, 0x32], //                          rdmsr
        ...[0x66, 0xe7, 0x10], //                    out 0x10, eax
        ...[0x66, 0x40], //                          inc eax
        ...[0x0f, 0x30], //                          wrmsr
        ...[0xf4], //                                hlt
      ],
    });
    machine.x86.setMsrs([
      { index: IA32_SYSENTER_EIP, value: 0x1234n },
      { index: IA32_KERNEL_GS_BASE, value: 0x7fff_0000_0000n },
    ]);
    expect(machine.runToHalt()).toEqual([{ at: 0x10, length: 4, wrote: 0x1234 }]);
    expect(machine.x86.getMsrs([IA32_KERNEL_GS_BASE, IA32_SYSENTER_EIP])).toEqual([
      { index: IA32_KERNEL_GS_BASE, value: 0x7fff_0000_0000n },
      { index: IA32_SYSENTER_EIP, value: 0x1235n },
    ]);
  });

  test("an MSR that does not exist is refused by name", () => {
    using machine = suite.machine(halt);
    const indices = [IA32_SYSENTER_EIP, 0x1234_5678];
    expect(() => machine.x86.getMsrs(indices)).toThrow(/0x12345678/);
    const msrs = indices.map((index) => ({ index, value: 0n }));
    expect(() => machine.x86.setMsrs(msrs)).toThrow(/0x12345678/);
  });

  test("the listed MSRs can be read", () => {
    using machine = suite.machine(halt);
    const indices = suite.hypervisor.x86?.supportedMsrs() ?? [];
    expect(indices).toContain(IA32_KERNEL_GS_BASE);
    // Some of the list depend on the vCPU's CPUID, so each is asked on its own.
    const readable = indices.filter((index) => {
      try {
        return machine.x86.getMsrs([index]).length === 1;
      } catch {
        return false;
      }
    });
    expect(readable.length).toBeGreaterThan(indices.length / 2);
  });

  test("the guest's CPUID is what the host set", () => {
    using machine = suite.machine({
      code: [
        ...[0x66, 0xb8, 0x02, 0x00, 0x00, 0x80], //  mov eax, 0x80000002
        ...[0x0f, 0xa2], //                          cpuid
        ...[0x66, 0xe7, 0x10], //                    out 0x10, eax
        ...[0xf4], //                                hlt
      ],
    });
    const brand = Buffer.from("TEST").readUInt32LE();
    const entries = (suite.hypervisor.x86?.supportedCpuid() ?? []).map((entry) =>
      entry.function === 0x8000_0002 ? { ...entry, eax: brand } : entry,
    );
    expect(entries.some((entry) => entry.eax === brand)).toBe(true);
    machine.x86.setCpuid(entries);
    expect(machine.runToHalt()).toEqual([{ at: 0x10, length: 4, wrote: brand }]);
    const found = machine.x86.getCpuid().find((entry) => entry.function === 0x8000_0002);
    expect(found?.eax).toBe(brand);
  });

  test("the FPU state keeps what is set", () => {
    using machine = suite.machine(halt);
    const fpu = machine.x86.getFpu();
    fpu.xmm.fill(0xa5, 0, 16);
    fpu.fcw = 0x27f;
    machine.x86.setFpu(fpu);
    expect(machine.x86.getFpu()).toEqual(fpu);
  });

  test("a register set through the XSAVE area is there for the guest, the area and the FPU state", () => {
    using machine = suite.machine({
      mode: "long",
      // movups [0x2000], xmm0; hlt
      code: [0x0f, 0x11, 0x04, 0x25, 0x00, 0x20, 0x00, 0x00, 0xf4],
    });
    const special = machine.x86.getSpecialRegisters();
    machine.x86.setSpecialRegisters({ ...special, cr4: special.cr4 | CR4_OSFXSR });
    const area = machine.x86.getXsave();
    expect(area.length).toBeGreaterThanOrEqual(4096);
    area.fill(0x5a, XSAVE_XMM0, XSAVE_XMM0 + 16);
    area[XSAVE_HEADER] = (area[XSAVE_HEADER] ?? 0) | X87_AND_SSE;
    machine.x86.setXsave(area);
    const expected = new Array(16).fill(0x5a);
    expect([...machine.x86.getFpu().xmm.subarray(0, 16)]).toEqual(expected);
    expect([...machine.x86.getXsave().subarray(XSAVE_XMM0, XSAVE_XMM0 + 16)]).toEqual(expected);
    expect(machine.runToHalt()).toEqual([]);
    expect([...machine.memory.subarray(0x2000, 0x2010)]).toEqual(expected);
    expect(() => machine.x86.setXsave(area.subarray(1))).toThrow();
  });

  test("XCR0 can be saved and restored", (context) => {
    const features = suite.hypervisor.x86?.supportedCpuid().find((entry) => entry.function === 1);
    const hasXsave = ((features?.ecx ?? 0) & CPUID_1_ECX_XSAVE) !== 0;
    using machine = suite.machine(halt);
    const xcrs = machine.x86.getXcrs();
    if (xcrs.length === 0 && !hasXsave) context.skip("no XSAVE here");
    // Bit 0, the x87 state, is always set.
    expect((xcrs.find(({ xcr }) => xcr === 0)?.value ?? 0n) & 1n).toBe(1n);
    machine.x86.setXcrs(xcrs);
    expect(machine.x86.getXcrs()).toEqual(xcrs);
  });

  test("debug registers and events can be saved and restored", () => {
    using machine = suite.machine(halt);
    const debug = machine.x86.getDebugRegisters();
    debug.db = [0x1000n, 0x2000n, 0x3000n, 0x4000n];
    machine.x86.setDebugRegisters(debug);
    expect(machine.x86.getDebugRegisters()).toEqual(debug);

    const events = machine.x86.getEvents();
    events.nmi.masked = 1;
    machine.x86.setEvents(events);
    expect(machine.x86.getEvents().nmi.masked).toBe(1);
  });

  test("the local APIC and the run state can be saved and restored", () => {
    using machine = suite.machine({ ...halt, interruptController: true });
    const lapic = machine.x86.getLapic();
    expect(lapic).toHaveLength(1024);
    // Offset 0x30 is the version register: 0x10 to 0x15 for an integrated APIC (SDM volume 3, 11.4.8).
    expect(lapic[0x30]).toBeGreaterThanOrEqual(0x10);
    machine.x86.setLapic(lapic);
    expect(machine.x86.getLapic()[0x30]).toBe(lapic[0x30]);

    expect(machine.x86.getMpState()).toBe(X86MpState.RUNNABLE);
    machine.x86.setMpState(X86MpState.HALTED);
    expect(machine.x86.getMpState()).toBe(X86MpState.HALTED);
  });

  test("the TSC has a frequency, and the clock goes on from where it is set", () => {
    using machine = suite.machine({ ...halt, interruptController: true });
    expect(machine.x86.getTscFrequency()).toBeGreaterThan(100_000);
    const anHour = 3_600_000_000_000n;
    machine.vm.x86?.setClock(anHour);
    expect(machine.vm.x86?.getClock()).toBeGreaterThanOrEqual(anHour);
  });
}
