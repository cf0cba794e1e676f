import { existsSync, readdirSync } from "node:fs";
import { requireFacility } from "@supermachine-internal/testing";
import { Image, type Vm } from "supermachine";
import { afterAll, expect } from "vitest";

/* Baked images and pools on KVM, by the library as it is built. */

const { test } = requireFacility("lab");

const made: string[] = [];
afterAll(async () => {
  const { rm } = await import("node:fs/promises");
  for (const directory of made) await rm(directory, { recursive: true, force: true });
});

const sh = async (vm: Vm, script: string) => (await vm.exec(["sh", "-c", script])).stdout.trim();

test("machines go on from what a warm-up has left, and are told apart", async () => {
  const image = await Image.open("demo");
  const warmup = async (vm: Vm) => void (await sh(vm, "echo warm >/tmp/state"));
  const baked = await image.bake({ warmup, tag: "lab-test", hypervisor: "kvm" });
  made.push(baked.directory);
  expect(baked.reused).toBe(false);
  expect(await image.bake({ warmup, tag: "lab-test", hypervisor: "kvm" })).toEqual({
    ...baked,
    reused: true,
  });

  await using cold = await image.start({ hypervisor: "kvm" });
  expect(await sh(cold, "cat /tmp/state 2>/dev/null || echo cold")).toBe("cold");
  await using pool = image.pool({ hypervisor: "kvm", warm: "lab-test", max: 1 });
  const seen: string[] = [];
  for (let round = 0; round < 3; round++) {
    await pool.use(async (vm) => {
      expect(await sh(vm, "cat /tmp/state; echo used >/tmp/state")).toBe("warm");
      seen.push(await sh(vm, "head -c 16 /dev/urandom | od -An -tx1"));
    });
  }
  expect(new Set(seen).size).toBe(3);
  expect(pool.stats()).toMatchObject({ acquired: 3, failed: 0 });
});

test("a warm-up that fails leaves nothing", async () => {
  const image = await Image.open("demo");
  const failure = new Error("the warm-up failed");
  const warmup = () => Promise.reject(failure);
  await expect(image.bake({ warmup, tag: "lab-failing", hypervisor: "kvm" })).rejects.toBe(failure);
  const parent = made[0]?.replace(/\/[^/]*$/, "");
  expect(parent !== undefined && existsSync(parent) && readdirSync(parent)).toHaveLength(1);
});
