import { expect, test } from "vitest";
import type { Suite } from "./suite.js";

/** Where virtio-mmio's QueueNotify would be for a device at 0x20000. */
const ADDRESS = 0x2_0050;

// mov dword [0x50], value, with ds:0 at 0x20000
const notify = (value: number) => [0x66, 0xc7, 0x06, 0x50, 0x00, value, 0, 0, 0];
const code = [
  ...[0xb8, 0x00, 0x20], //  mov ax, 0x2000
  ...[0x8e, 0xd8], //        mov ds, ax
  ...notify(1),
  ...notify(2),
  ...notify(3),
  ...[0xf4], //              hlt
];

/** Writes that signal an eventfd instead of leaving the guest. */
export function testDoorbells(suite: Suite): void {
  test("a doorbell with a value fires for that value only; other writes are MMIO exits", (context) => {
    using machine = suite.machine({ code });
    if (!machine.vm.capabilities.ioeventfd) context.skip("no ioeventfd here");
    using first = suite.createEvent();
    using second = suite.createEvent();
    using _one = machine.vm.bindDoorbell(ADDRESS, first.fd, { value: 1 });
    using _two = machine.vm.bindDoorbell(ADDRESS, second.fd, { value: 2 });
    expect(machine.runToHalt()).toEqual([{ at: ADDRESS, length: 4, wrote: 3 }]);
    expect(first.drain()).toBe(true);
    expect(second.drain()).toBe(true);
    expect(first.drain()).toBe(false);
  });

  test("a doorbell without a value takes every write", (context) => {
    using machine = suite.machine({ code });
    if (!machine.vm.capabilities.ioeventfd) context.skip("no ioeventfd here");
    using event = suite.createEvent();
    using _binding = machine.vm.bindDoorbell(ADDRESS, event.fd);
    expect(machine.runToHalt()).toEqual([]);
    expect(event.drain()).toBe(true);
  });

  test("an unbound doorbell is plain MMIO again", (context) => {
    using machine = suite.machine({ code });
    if (!machine.vm.capabilities.ioeventfd) context.skip("no ioeventfd here");
    using event = suite.createEvent();
    const binding = machine.vm.bindDoorbell(ADDRESS, event.fd, { value: 1 });
    binding[Symbol.dispose]();
    binding[Symbol.dispose]();
    expect(machine.runToHalt()).toHaveLength(3);
    expect(event.drain()).toBe(false);
  });

  test("a second doorbell on the same address and value is refused", (context) => {
    using machine = suite.machine({ code });
    if (!machine.vm.capabilities.ioeventfd) context.skip("no ioeventfd here");
    using event = suite.createEvent();
    using _binding = machine.vm.bindDoorbell(ADDRESS, event.fd, { value: 1 });
    expect(() => machine.vm.bindDoorbell(ADDRESS, event.fd, { value: 1 })).toThrow();
  });
}
