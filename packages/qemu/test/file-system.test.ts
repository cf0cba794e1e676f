import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Session } from "@supermachine/fuse-server";
import { PosixBackend } from "@supermachine/posix-backend";
import { FsDevice } from "@supermachine/virtio";
import { afterAll, beforeAll, expect, test } from "vitest";
import { QemuMachine } from "../src/index.js";
import { buildInitrd, describeMachine, findTestKernel } from "./guest.js";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "qemu-fs-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

describeMachine("a share in a QEMU machine", () => {
  test("is a host directory that the guest reads and writes", async () => {
    const share = join(directory, "share");
    mkdirSync(share);
    const content = randomBytes(16 * 1024 * 1024 + 5);
    writeFileSync(join(share, "in"), content);
    const failures: Error[] = [];
    const machine = await QemuMachine.start({
      kernel: findTestKernel(),
      initrd: buildInitrd(directory),
      commandLine: "console=ttyS0 reboot=t panic=-1 quiet steps=fs",
      memoryMiB: 128,
      devices: [new FsDevice({ tag: "share", session: new Session(new PosixBackend(share)) })],
      onDeviceFailure: (reason) => failures.push(reason),
    });
    const exit = await machine.exited;
    expect(exit.console.filter((line) => line.startsWith("fs"))).toEqual([
      expect.stringMatching(`^fs: copied ${content.length} bytes in \\d+ ms$`),
    ]);
    expect(exit.reason).toBe("shutdown");
    expect(readFileSync(join(share, "out")).equals(content)).toBe(true);
    expect(statSync(join(share, "made")).isDirectory()).toBe(true);
    expect(failures).toEqual([]);
    process.stdout.write(`${exit.console.find((line) => line.startsWith("fs"))} (under TCG)\n`);
  });
});
