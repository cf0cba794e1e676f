import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TemporaryDirectory } from "@supermachine-internal/testing";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { VmDescription } from "./machine/description.js";
import { checkVmName, findVm, register, registeredVms } from "./registry.js";
import { RuntimeDirectory } from "./runtime-directory.js";

let base: TemporaryDirectory;
let own: RuntimeDirectory[];

beforeEach(() => {
  base = new TemporaryDirectory();
  own = [];
  vi.stubEnv("XDG_RUNTIME_DIR", base.path);
});
afterEach(() => {
  for (const directory of own) directory[Symbol.dispose]();
  vi.unstubAllEnvs();
  base[Symbol.dispose]();
});

function create(): RuntimeDirectory {
  const directory = new RuntimeDirectory();
  own.push(directory);
  return directory;
}

function described({ id }: RuntimeDirectory, name = id): VmDescription {
  const config = {
    env: {},
    entrypoint: [],
    cmd: [],
    workdir: "/",
    user: "",
  } as unknown as VmDescription["image"]["config"];
  return {
    id,
    name,
    pid: process.pid,
    createdAt: Date.now(),
    image: { name: "demo", digest: "sha256:0", config, rootfsPath: "/r", size: 1 },
    hypervisor: "qemu",
    memoryMiB: 128,
    cpus: 1,
    env: {},
    detached: false,
  };
}

async function registered(name?: string): Promise<RuntimeDirectory> {
  const directory = create();
  await register(directory.path, described(directory, name));
  return directory;
}

test("a machine is found by name, id and the beginning of its id", async () => {
  const one = await registered("one");
  await registered("two");
  expect(findVm("one").directory).toBe(one.path);
  expect(findVm(one.id).directory).toBe(one.path);
  expect(findVm(one.id.slice(0, 11)).directory).toBe(one.path);
  expect(registeredVms().map(({ description }) => description.name)).toEqual(["one", "two"]);
  expect(() => findVm("three")).toThrow(
    expect.objectContaining({ code: "ERR_VM_NOT_FOUND", message: expect.stringContaining("one") }),
  );
  expect(() => findVm("")).toThrow(expect.objectContaining({ code: "ERR_VM_NOT_FOUND" }));
});

test("a name is given to one machine at a time", async () => {
  const first = await registered("web");
  const second = create();
  await expect(register(second.path, described(second, "web"))).rejects.toMatchObject({
    code: "ERR_VM_NAME_TAKEN",
  });
  first[Symbol.dispose]();
  await register(second.path, described(second, "web"));
  expect(findVm("web").directory).toBe(second.path);
});

test("of many that want a name at the same time, one gets it", async () => {
  const directories = Array.from({ length: 8 }, create);
  const outcomes = await Promise.allSettled(
    directories.map((directory) => register(directory.path, described(directory, "web"))),
  );
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  expect(registeredVms()).toHaveLength(1);
});

test("what a process that is gone has left is swept, and its name free", async () => {
  const { path } = await registered();
  // A process id that is in use, by a process that began at another time.
  const left = described(create(), "web");
  const stale = join(path, "..", `${process.pid}-1-abcdef012345`);
  mkdirSync(stale);
  writeFileSync(join(stale, "vm.json"), JSON.stringify({ ...left, id: "abcdef012345" }));
  await registered("web");
  expect(readdirSync(join(path, ".."))).not.toContain(`${process.pid}-1-abcdef012345`);
  expect(registeredVms().map(({ description }) => description.id)).not.toContain("abcdef012345");
});

test("a damaged description hides a machine, and keeps nobody from the others", async () => {
  const damaged = await registered("damaged");
  await registered("whole");
  for (const text of ["", "{", "null", "[]", '{"name":1}']) {
    writeFileSync(join(damaged.path, "vm.json"), text);
    expect(registeredVms().map(({ description }) => description.name)).toEqual(["whole"]);
  }
});

test.each(["web", "a", "A.b-c_d", "x".repeat(63)])("%s is a name", (name) => {
  expect(() => checkVmName(name)).not.toThrow();
});

test.each(["", "-web", "../x", "a/b", "a b", "x".repeat(64), "é"])("%j is no name", (name) => {
  expect(() => checkVmName(name)).toThrow(expect.objectContaining({ code: "ERR_OPTION" }));
});
