import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { VsockDevice } from "@supermachine/virtio";
import { until } from "@supermachine-internal/testing";
import { afterAll, beforeAll, expect, test } from "vitest";
import { QemuMachine } from "../src/index.js";
import { buildInitrd, describeMachine, findTestKernel } from "./guest.js";

let directory: string;
let initrd: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "qemu-vsock-"));
  initrd = buildInitrd(directory);
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
      initrd,
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

  test("carries on after each pause, with what was sent meanwhile", async () => {
    const failures: Error[] = [];
    const vsock = new VsockDevice();
    const connected = new Promise<Duplex>((resolve) => {
      vsock.listen(1024, resolve);
    });
    await using machine = await QemuMachine.start({
      kernel: findTestKernel(),
      initrd,
      commandLine: "console=ttyS0 reboot=t panic=-1 quiet steps=vsock",
      memoryMiB: 128,
      devices: [vsock],
      onDeviceFailure: (reason) => failures.push(reason),
    });
    const control = await connected;
    const stream = await vsock.connect(1025);
    let received = 0;
    const hash = createHash("sha1");
    const expected = createHash("sha1");
    stream.on("data", (bytes: Uint8Array) => {
      received += bytes.length;
      hash.update(bytes);
    });
    let sent = 0;
    const send = () => {
      const bytes = randomBytes(300_001);
      sent += bytes.length;
      expected.update(bytes);
      stream.write(bytes);
    };
    for (let round = 0; round < 5; round++) {
      send();
      await machine.pause();
      const before = received;
      send();
      await sleep(200);
      expect(received).toBe(before);
      await machine.resume();
      await until(() => received === sent, "all to be echoed", 20_000);
    }
    expect(hash.digest("hex")).toBe(expected.digest("hex"));
    stream.end();
    control.end();
    expect(await machine.exited).toMatchObject({ reason: "shutdown" });
    expect(failures).toEqual([]);
  });
});
