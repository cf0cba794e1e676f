import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ImageStore } from "@supermachine/oci/image-store";
import { TemporaryDirectory } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import type { MachineConfig } from "../machine/config.js";
import { WarmSnapshots } from "./warm-snapshots.js";

const config: MachineConfig = {
  memoryMiB: 256,
  cpus: 1,
  kernel: "/kernel",
  initrd: "/initrd",
  commandLine: "root=/dev/vda hostname=box",
  provenance: { image: { name: "demo", digest: "sha256:00" }, guest: "kernel initrd", env: {} },
  rootfs: "/rootfs",
  shares: [],
  hostname: "box",
  bootTimeoutMs: 1000,
};
const identity = { digest: "sha256:00", config, tag: undefined };

test("a warm machine is found by what it depends on, and by nothing else", () => {
  using directory = new TemporaryDirectory();
  const warm = new WarmSnapshots(new ImageStore(directory.path));
  expect(warm.find(identity)).toBeUndefined();
  const place = warm.place(identity);
  mkdirSync(place);
  expect(warm.find(identity)).toBe(place);
  const find = (changes: Partial<MachineConfig>) =>
    warm.find({ ...identity, config: { ...config, ...changes } });
  const hostname = "other";
  const commandLine = config.commandLine.replace("box", hostname);
  expect(find({ hostname, commandLine, bootTimeoutMs: 5, kernel: "/elsewhere" })).toBe(place);

  expect(warm.find({ ...identity, tag: "tests" })).toBeUndefined();
  expect(warm.find({ ...identity, digest: "sha256:11" })).toBeUndefined();
  const provenance = { ...config.provenance, guest: "new kernel" };
  for (const change of [
    { memoryMiB: 512 },
    { cpus: 2 },
    { commandLine: `${config.commandLine} quiet` },
    { provenance },
  ]) {
    expect(find(change)).toBeUndefined();
  }
});

test("what is removed leaves nothing", async () => {
  using directory = new TemporaryDirectory();
  const warm = new WarmSnapshots(new ImageStore(directory.path));
  const place = warm.place(identity);
  await warm.remove(place);
  mkdirSync(place);
  writeFileSync(join(place, "memory"), "");
  await warm.remove(place);
  expect(warm.find(identity)).toBeUndefined();
  expect(readdirSync(join(place, ".."))).toEqual([]);
  mkdirSync(warm.place(identity));
  await warm.removeImage(identity.digest);
  expect(existsSync(join(place, ".."))).toBe(false);
});
