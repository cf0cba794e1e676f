import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
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
