import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openDescriptors, requireFacility, until } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { serveDirectory } from "../src/index.js";
import { debianKernel, debianKernelPath, virtioFsModules } from "./debian-kernel.js";
import { Fixture } from "./fixture.js";
import { ALL_OK, buildInitrd, Guest, guestKernel, machineFacilities } from "./guest.js";

const { test } = requireFacility("linux", "root", ...machineFacilities, guestKernel);

test("a guest reads, writes and names files of the directory", async () => {
  using fixture = new Fixture();
  const warnings: string[] = [];
  const logger = { warn: (message: string) => void warnings.push(message) };
  await using server = await serveDirectory({ ...fixture, logger });
  await using guest = fixture.boot();
  expect(await guest.report()).toEqual(ALL_OK);
  expect(readFileSync(join(fixture.sharedDir, "out")).equals(fixture.content)).toBe(true);
  expect(readdirSync(fixture.sharedDir)).toEqual(["in", "out"]);
  await until(() => !server.connected, "the machine to be gone");
  expect(warnings).toEqual([]);
}, 60_000);

test("a machine that QEMU pauses keeps its files open, and goes on writing", async () => {
  using fixture = new Fixture();
  const warnings: string[] = [];
  const logger = { warn: (message: string) => void warnings.push(message) };
  await using server = await serveDirectory({ ...fixture, logger });
  await using guest = fixture.boot("append");
  await until(() => guest.lines.includes("appending"), "the guest to write", 30_000);
  const blocks = join(fixture.sharedDir, "blocks");
  const length = () => statSync(blocks).size;
  for (let round = 0; round < 5; round++) {
    await guest.monitor("stop");
    const before = length();
    await sleep(1000);
    expect(length()).toBe(before);
    expect(server.connected).toBe(true);
    expect(server.handleCount).toBe(2);
    await guest.monitor("cont");
    await until(() => length() > before + 100 * 4096, "the guest to write on", 20_000);
  }
  writeFileSync(join(fixture.sharedDir, "stop"), "");
  expect(await guest.report()).toEqual(["ok append", "ok umount"]);
  const written = readFileSync(blocks);
  const numbers = new BigInt64Array(written.buffer, written.byteOffset, written.length / 8);
  expect(numbers.every((number, i) => number === BigInt(Math.floor(i / 512)))).toBe(true);
  expect(warnings).toEqual([]);
  process.stdout.write(`${written.length / 4096} blocks written between the pauses\n`);
}, 90_000);

test("a machine that is killed gives back what it held, and the next one is served", async () => {
  using fixture = new Fixture();
  await using server = await serveDirectory({ ...fixture, pollMs: 0.1 });
  const before = openDescriptors().length;
  {
    await using guest = fixture.boot("wait");
    await until(() => guest.lines.includes("waiting"), "the guest to wait", 30_000);
    expect(server.connected).toBe(true);
    expect(server.handleCount).toBe(1);
    expect(server.inodeCount).toBe(2);
  }
  await until(() => !server.connected, "the machine to be gone");
  expect(server.handleCount).toBe(0);
  expect(server.inodeCount).toBe(1);
  await using guest = fixture.boot();
  expect(await guest.report()).toEqual(ALL_OK);
  await until(() => !server.connected, "the second machine to be gone");
  await until(() => openDescriptors().length === before, "all descriptors to be closed");
}, 90_000);

requireFacility(
  "linux",
  "root",
  "x86-64",
  ...machineFacilities,
  "program:modprobe",
  debianKernel,
).test(
  "a guest with the kernel that Debian ships works, over PCI",
  async () => {
    using fixture = new Fixture();
    const { initrd, socketPath } = fixture;
    buildInitrd(`${initrd}-debian`, virtioFsModules());
    await using _server = await serveDirectory(fixture);
    const kernel = debianKernelPath;
    await using guest = new Guest({
      machine: "pc",
      kernel,
      initrd: `${initrd}-debian`,
      socketPath,
    });
    expect(await guest.report()).toEqual(ALL_OK);
    expect(readFileSync(join(fixture.sharedDir, "out")).equals(fixture.content)).toBe(true);
  },
  120_000,
);
