import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { VsockDevice } from "@supermachine/virtio";
import { afterAll, beforeAll, expect, test } from "vitest";
import { QemuMachine } from "../src/index.js";
import { buildInitrd, describeMachine, findTestKernel } from "./guest.js";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "qemu-vsock-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

describeMachine("vsock in a QEMU machine", () => {
  test("connects both ways, and carries megabytes unchanged", async () => {
    const failures: Error[] = [];
    const vsock = new VsockDevice();
    const connected = new Promise<Duplex>((resolve) => {
      vsock.listen(1024, resolve);
    });
    const machine = await QemuMachine.start({
      kernel: findTestKernel(),
      initrd: buildInitrd(directory),
      commandLine: "console=ttyS0 reboot=t panic=-1 quiet steps=vsock",
      memoryMiB: 128,
      devices: [vsock],
      onDeviceFailure: (reason) => failures.push(reason),
    });
    await using _ = machine;
    const control = await connected;
    const [ready] = (await once(control, "data")) as [Uint8Array];
    expect(String(ready)).toBe("ready\n");

    const stream = await vsock.connect(1025);
    const sent = randomBytes(8 * 1024 * 1024);
    const started = performance.now();
    stream.end(sent);
    const received = await buffer(stream);
    const seconds = (performance.now() - started) / 1000;
    expect(createHash("sha1").update(received).digest("hex")).toBe(
      createHash("sha1").update(sent).digest("hex"),
    );
    process.stdout.write(`vsock echo under TCG: ${(8 / seconds).toFixed(1)} MiB/s each way\n`);

    control.end();
    const exit = await machine.exited;
    expect(exit.reason).toBe("shutdown");
    expect(exit.console).toContain("vsock: done");
    expect(failures).toEqual([]);
    await expect(vsock.connect(1025)).rejects.toMatchObject({ code: "ERR_VIRTIO_CLOSED" });
  });
});
