import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RngDevice, VsockDevice } from "@supermachine/virtio";
import { afterEach, beforeEach, expect, test } from "vitest";
import { qemuArguments } from "./arguments.js";
import { findQemu, QemuMachine } from "./index.js";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "qemu-test-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

function fakeQemu(script: string): string {
  const path = join(directory, "qemu-system-x86_64");
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

test("a QEMU that is not there is an error that says what to install", async () => {
  await expect(findQemu(join(directory, "none"))).rejects.toMatchObject({
    code: "ERR_QEMU_MISSING",
    message: expect.stringContaining("apt install qemu-system-x86"),
  });
});

test("a QEMU that is too old is an error that names both versions", async () => {
  const qemu = fakeQemu("echo 'QEMU emulator version 5.2.0 (Debian 1:5.2+dfsg)'");
  await expect(findQemu(qemu)).rejects.toMatchObject({
    code: "ERR_QEMU_TOO_OLD",
    message: expect.stringMatching(/version 5\.2\.0; version 6\.0 or later/),
  });
});

test("a QEMU that does not work is an error, and one repaired is found", async () => {
  const qemu = fakeQemu("exit 3");
  await expect(findQemu(qemu)).rejects.toMatchObject({ code: "ERR_QEMU_START" });
  fakeQemu("echo 'QEMU emulator version 9.1.2'");
  await expect(findQemu(qemu)).resolves.toEqual({ path: qemu, version: "9.1.2" });
});

test.each([
  ["memoryMiB", { memoryMiB: 1 }, /memoryMiB is 1; give a whole number 32 to/],
  ["cpus", { cpus: 0.5 }, /cpus is 0.5/],
  ["kernel", { kernel: "/nonexistent/kernel" }, /cannot open the kernel \/nonexistent\/kernel/],
  ["initrd", { initrd: "/nonexistent/initrd" }, /cannot open the initial RAM disk/],
  ["disk", { disks: [{ path: "/nonexistent/disk" }] }, /cannot open the disk/],
  ["runtimeDirectory", { runtimeDirectory: "/nonexistent" }, /cannot make a directory/],
])("a wrong %s is refused before anything is started", async (_, options, message) => {
  const qemu = fakeQemu("echo 'QEMU emulator version 9.1.2'");
  const start = QemuMachine.start({
    kernel: "/dev/null",
    commandLine: "",
    memoryMiB: 64,
    qemu,
    ...options,
  });
  await expect(start).rejects.toMatchObject({
    code: "ERR_QEMU_OPTION",
    message: expect.stringMatching(message),
  });
});

test("a start that fails closes the devices and leaves no directory or socket", async () => {
  const qemu = fakeQemu("echo 'QEMU emulator version 9.1.2'");
  const long = join(directory, "x".repeat(100));
  mkdirSync(long);
  const vsock = new VsockDevice();
  const start = QemuMachine.start({
    kernel: "/dev/null",
    commandLine: "",
    memoryMiB: 64,
    qemu,
    devices: [vsock],
    runtimeDirectory: long,
  });
  await expect(start).rejects.toMatchObject({
    code: "ERR_QEMU_OPTION",
    message: expect.stringMatching(/107 bytes.*give another runtimeDirectory/),
  });
  expect(readdirSync(long)).toEqual([]);
  await expect(vsock.connect(1)).rejects.toMatchObject({ code: "ERR_VIRTIO_CLOSED" });
});

test("a device that QEMU has no front-end for is refused", async () => {
  const qemu = fakeQemu("echo 'QEMU emulator version 9.1.2'");
  const devices = [new RngDevice()];
  const start = QemuMachine.start({
    kernel: "/dev/null",
    commandLine: "",
    memoryMiB: 64,
    qemu,
    devices,
    runtimeDirectory: directory,
  });
  await expect(start).rejects.toThrow(/virtio device with id 4: .* give disks as `disks`/);
});

test("more devices than microvm has room for are refused", () => {
  const machine = {
    kernel: "k",
    initrd: undefined,
    commandLine: "",
    memoryMiB: 64,
    cpus: 1,
    accelerator: "tcg" as const,
    frontEnds: [],
  };
  const disks = (count: number) => Array.from({ length: count }, () => ({ path: "d" }));
  expect(qemuArguments({ ...machine, disks: disks(7) })).toContain("-no-reboot");
  expect(() => qemuArguments({ ...machine, disks: disks(8) })).toThrow(/has room for 7/);
});

test("a comma in a path or a tag does not become another property", () => {
  const args = qemuArguments({
    kernel: "k",
    initrd: undefined,
    commandLine: "a,b",
    memoryMiB: 64,
    cpus: 1,
    accelerator: "tcg",
    disks: [],
    frontEnds: [{ device: "d", properties: { tag: "x,y=z" }, socketPath: "/a,server=on" }],
  });
  expect(args).toContain("socket,id=device0,path=/a,,server=on");
  expect(args).toContain("d,chardev=device0,tag=x,,y=z,bus=virtio-mmio-bus.7");
  expect(args).toContain("a,b");
});
