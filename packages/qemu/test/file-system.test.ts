import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { MemoryFs, Session } from "@supermachine/fuse-server";
import { ensureInitramfs, kernelCommandLine } from "@supermachine/guest";
import { PosixBackend } from "@supermachine/posix-backend";
import { FsDevice, type FuseRequestHandler } from "@supermachine/virtio";
import { afterAll, beforeAll, expect, test } from "vitest";
import { QemuMachine } from "../src/index.js";
import { buildInitrd, describeMachine, findTestKernel } from "./guest.js";

/** `<linux/fuse.h>`: what sync(2) asks. */
const FUSE_SYNCFS = 50;

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

  test("that stops answering does not keep the agent from ending the guest", async () => {
    const served = new Session(new MemoryFs());
    let unanswered = 0;
    const session: FuseRequestHandler = {
      handle(input, output, complete) {
        const opcode = input[0]?.[4];
        if (opcode === FUSE_SYNCFS) unanswered++;
        else served.handle(input, output, complete);
      },
    };
    const started = performance.now();
    const machine = await QemuMachine.start({
      kernel: findTestKernel(),
      initrd: await ensureInitramfs(),
      // Without a vsock the agent gives up at once, and ends the machine.
      commandLine: kernelCommandLine({
        console: "ttyS0",
        shares: [{ tag: "share", path: "/mnt" }],
      }),
      memoryMiB: 128,
      devices: [new FsDevice({ tag: "share", session })],
    });
    await using _ = machine;
    const exit = await Promise.race([machine.exited, sleep(40_000)]);
    expect(exit).toMatchObject({ reason: "shutdown" });
    expect(unanswered).toBe(1);
    expect(performance.now() - started).toBeGreaterThan(10_000);
  });
});
