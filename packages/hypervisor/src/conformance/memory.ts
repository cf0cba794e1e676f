import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ExitReason } from "../exit.js";
import { CODE, type Machine, MEMORY_SIZE } from "./machine.js";
import type { Suite } from "./suite.js";

const SECOND = 0x2_0000;

// mov ax, 0x2000; mov ds, ax: ds:0 is SECOND
const loadSegment = [0xb8, 0x00, 0x20, 0x8e, 0xd8];
// mov al, [0]; out 0x10, al
const readFirstByte = [0xa0, 0x00, 0x00, 0xe6, 0x10];
// mov byte [1], 0x77
const writeSecondByte = [0xc6, 0x06, 0x01, 0x00, 0x77];
const hlt = 0xf4;

const PAGE = 4096;
const WINDOW = 2 << 20;

function temporaryFile(size: number) {
  const directory = mkdtempSync(join(tmpdir(), "window-"));
  const path = join(directory, "file");
  const fd = openSync(path, "w+");
  ftruncateSync(fd, size);
  return {
    path,
    fd,
    [Symbol.dispose]: () => {
      closeSync(fd);
      rmSync(directory, { recursive: true });
    },
  };
}

/**
 * The next access of the guest is one that the slot's host memory does not allow; then the guest is back
 * at its start. Hypervisors that emulate the instruction report MMIO.
 */
function expectFault(machine: Machine, address: number): void {
  const reason = machine.run();
  if (reason === ExitReason.MMIO) {
    expect(machine.vcpu.exit.address).toBe(address);
    machine.vcpu.completeExit();
  } else {
    expect(reason).toBe(ExitReason.MEMORY_FAULT);
  }
  machine.jump(CODE);
}

/** Slots: what the guest sees where, and what happens where it sees nothing. */
export function testMemory(suite: Suite): void {
  test("host and guest see each other's writes", () => {
    using machine = suite.machine({
      code: [
        ...[0xa0, 0x00, 0x20], //  mov al, [0x2000]
        ...[0xfe, 0xc0], //        inc al
        ...[0xa2, 0x01, 0x20], //  mov [0x2001], al
        ...[0xf4], //              hlt
      ],
    });
    machine.memory[0x2000] = 6;
    expect(machine.runToHalt()).toEqual([]);
    expect(machine.memory[0x2001]).toBe(7);
  });

  test("a slot mapped and unmapped between runs comes and goes for the guest", () => {
    using machine = suite.machine({ code: [...loadSegment, ...readFirstByte, hlt] });
    using second = suite.hypervisor.allocateMemory(4096);
    new Uint8Array(second.view())[0] = 0x33;
    expect(machine.runToHalt([0x11])[0]).toEqual({ at: SECOND, length: 1 });

    const region = { slot: 1, guestAddress: SECOND, hostAddress: second.address, size: 4096 };
    machine.vm.mapMemory(region);
    machine.jump(0x1000);
    expect(machine.runToHalt()).toEqual([{ at: 0x10, length: 1, wrote: 0x33 }]);

    machine.vm.unmapMemory(1);
    machine.jump(0x1000);
    expect(machine.runToHalt([0x22])).toEqual([
      { at: SECOND, length: 1 },
      { at: 0x10, length: 1, wrote: 0x22 },
    ]);
  });

  test("memory given back is gone for the guest, too, but only in whole pages", () => {
    using machine = suite.machine({ code: [...loadSegment, ...readFirstByte, hlt] });
    using second = suite.hypervisor.allocateMemory(3 * PAGE);
    const bytes = new Uint8Array(second.view()).fill(0x33);
    const region = { slot: 1, guestAddress: SECOND, hostAddress: second.address, size: 3 * PAGE };
    machine.vm.mapMemory(region);
    expect(machine.runToHalt()).toEqual([{ at: 0x10, length: 1, wrote: 0x33 }]);
    second.discard(1, 2 * PAGE - 2);
    expect(bytes.every((byte) => byte === 0x33)).toBe(true);
    second.discard(0, 2 * PAGE - 1);
    expect([bytes[0], bytes[PAGE - 1], bytes[PAGE]]).toEqual([0, 0, 0x33]);
    machine.jump(0x1000);
    expect(machine.runToHalt()).toEqual([{ at: 0x10, length: 1, wrote: 0 }]);
    second.discard(2 * PAGE, 100 * PAGE);
    second.discard(-PAGE, PAGE);
    expect([bytes[2 * PAGE - 1], bytes[2 * PAGE]]).toEqual([0x33, 0]);
    machine.vm.unmapMemory(1);
  });

  test("a read-only slot reads as memory, and a write to it is an MMIO exit", (context) => {
    using machine = suite.machine({
      code: [...loadSegment, ...readFirstByte, ...writeSecondByte, hlt],
    });
    if (!machine.vm.capabilities.readOnlyMemory) context.skip("no read-only memory here");
    using second = suite.hypervisor.allocateMemory(4096);
    const bytes = new Uint8Array(second.view());
    bytes[0] = 0x33;
    machine.vm.mapMemory({
      slot: 1,
      guestAddress: SECOND,
      hostAddress: second.address,
      size: 4096,
      readOnly: true,
    });
    expect(machine.runToHalt()).toEqual([
      { at: 0x10, length: 1, wrote: 0x33 },
      { at: SECOND + 1, length: 1, wrote: 0x77 },
    ]);
    expect(bytes[1]).toBe(0);
    machine.vm.unmapMemory(1);
  });

  test("the dirty log names the pages written since it was last taken", (context) => {
    using machine = suite.machine({
      code: [
        ...loadSegment,
        ...[0xc6, 0x06, 0x00, 0x20, 0x77], //  mov byte [0x2000], 0x77
        hlt,
      ],
    });
    if (!machine.vm.capabilities.dirtyLog) context.skip("no dirty log here");
    using second = suite.hypervisor.allocateMemory(4 * 4096);
    machine.vm.mapMemory({
      slot: 1,
      guestAddress: SECOND,
      hostAddress: second.address,
      size: second.length,
      logDirty: true,
    });
    expect(machine.runToHalt()).toEqual([]);
    expect(machine.vm.takeDirtyLog(1)[0]).toBe(1 << 2);
    expect(machine.vm.takeDirtyLog(1)[0]).toBe(0);
    machine.vm.unmapMemory(1);
    expect(() => machine.vm.takeDirtyLog(1)).toThrow();
  });

  test("files come and go in a window while its slot stays", (context) => {
    const window = suite.hypervisor.createFileWindow?.(WINDOW);
    if (window === undefined) return context.skip("no windows of files here");
    using _window = window;
    using file = temporaryFile(2 * PAGE);
    const secondPage = () => [...readFileSync(file.path).subarray(PAGE, PAGE + 2)];
    writeSync(file.fd, Buffer.from([0x33]), 0, 1, PAGE);
    using machine = suite.machine({
      code: [...loadSegment, ...readFirstByte, ...writeSecondByte, hlt],
    });
    const slot = { slot: 1, guestAddress: SECOND, hostAddress: window.hostAddress, size: PAGE };
    machine.vm.mapMemory(slot);
    expectFault(machine, SECOND);

    expect(window.map(file.fd, PAGE, PAGE, 0, false)).toBe(0);
    expect(machine.runTo(ExitReason.IO).value).toBe(0x33);
    expectFault(machine, SECOND + 1); // the write to what is mapped read-only
    expect(secondPage()).toEqual([0x33, 0]);

    expect(window.map(file.fd, PAGE, PAGE, 0, true)).toBe(0);
    expect(machine.runToHalt()).toEqual([{ at: 0x10, length: 1, wrote: 0x33 }]);
    expect(secondPage()).toEqual([0x33, 0x77]);

    machine.jump(CODE);
    ftruncateSync(file.fd, PAGE);
    expectFault(machine, SECOND);
    expect(window.mapZeros(0, PAGE)).toBe(0);
    expect(machine.runToHalt()).toEqual([{ at: 0x10, length: 1, wrote: 0 }]);

    machine.jump(CODE);
    expect(window.unmap(0, PAGE)).toBe(0);
    expectFault(machine, SECOND);
    machine.vm.unmapMemory(1);
  });

  test("overlapping, misaligned and empty slots are refused", () => {
    using machine = suite.machine({ code: [hlt] });
    using second = suite.hypervisor.allocateMemory(8192);
    const region = { slot: 1, guestAddress: SECOND, hostAddress: second.address, size: 4096 };
    const refused = [
      { ...region, guestAddress: MEMORY_SIZE - 4096 },
      { ...region, guestAddress: SECOND + 1 },
      { ...region, size: 100 },
      { ...region, size: 0 },
    ];
    for (const slot of refused) expect(() => machine.vm.mapMemory(slot)).toThrow();
    machine.runTo(ExitReason.HLT);
  });
}
