import { createHash } from "node:crypto";
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ensureInitramfs, ensureKernel } from "@supermachine/guest";
import { Kvm } from "@supermachine/kvm";
import { Machine } from "@supermachine/vmm";
import { openDescriptors, requireFacility } from "@supermachine-internal/testing";
import { type RestoreVmOptions, Vm } from "supermachine";
import { afterAll, afterEach, beforeAll, expect, vi } from "vitest";
import { assemble, tinyKernel } from "../../vmm/test/tiny-kernel.js";
import { guestIdentity } from "../src/configure.js";
import { demoStore } from "./images.js";
import { descendants, eventually } from "./processes.js";

/*
 * Snapshots that do not fit, as a user meets them. What was saved is a guest of two instructions, which any
 * /dev/kvm runs: a snapshot that is accepted gets as far as its devices, of which it has none.
 */

const ACCEPTED = "ERR_SNAPSHOT_DEVICES";
const CORRUPT = "ERR_SNAPSHOT_CORRUPT";

const { test } = requireFacility("kvm", "x86-64");

let stores: Awaited<ReturnType<typeof demoStore>>;
let directory = "";
let original = "";
let onBase = "";
let metadata: Record<string, unknown> = {};
let names = 0;
const newName = () => join(directory, `snapshot-${names++}`);

beforeAll(async () => {
  stores = await demoStore();
  directory = mkdtempSync(join(tmpdir(), "snapshots-"));
  mkdirSync(join(directory, "run"));
  vi.stubEnv("XDG_RUNTIME_DIR", join(directory, "run"));
  const kernel = join(directory, "kernel");
  writeFileSync(kernel, tinyKernel([...assemble.print("x\n"), ...assemble.spin()]));
  const image = await stores.store.get("demo");
  metadata = {
    memoryMiB: 32,
    cpus: 1,
    kernel: "",
    initrd: "",
    commandLine: "",
    rootfs: "",
    shares: [],
    hostname: "box",
    bootTimeoutMs: 5000,
    provenance: {
      image: { name: image.name, digest: image.digest },
      guest: guestIdentity(await ensureKernel(), await ensureInitramfs()),
      env: {},
    },
  };
  let printed = false;
  await using machine = await Machine.start({
    hypervisor: new Kvm(),
    vcpuThread: new URL("../dist/vcpu-thread.js", import.meta.url),
    memoryMiB: 32,
    kernel,
    commandLine: "",
    onConsole: () => {
      printed = true;
    },
  });
  await vi.waitFor(() => expect(printed).toBe(true), 10_000);
  original = newName();
  onBase = newName();
  await machine.save(original, { metadata: JSON.stringify(metadata) });
  await machine.save(onBase, { metadata: JSON.stringify(metadata), base: original });
});
afterAll(async () => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
  await stores[Symbol.asyncDispose]();
});
afterEach(async () => {
  expect(await eventually(() => descendants(process.pid).length === 0, 5000)).toBe(true);
  expect(readdirSync(join(directory, "run", "supermachine"))).toEqual([]);
});

/** With what code a snapshot is refused. */
async function refusal(
  snapshot: string,
  options: Partial<RestoreVmOptions> = {},
): Promise<string | undefined> {
  const { store } = stores;
  return await Vm.restore({ snapshot, store, isolation: "inline", name: "it", ...options }).then(
    async (vm) => {
      await vm.kill();
      return undefined;
    },
    ({ name, code, message }) => {
      expect(name).toBe("SupermachineError");
      expect(message).toContain("snapshot");
      return code;
    },
  );
}

/** A snapshot of the same files. */
function copyOf(snapshot: string): string {
  const copy = newName();
  mkdirSync(copy);
  for (const file of readdirSync(snapshot)) linkSync(join(snapshot, file), join(copy, file));
  return copy;
}

/** A copy of a snapshot that has a file of its own, as `change` makes it. */
function withFile(snapshot: string, file: string, change: (bytes: Buffer) => Uint8Array): string {
  const copy = copyOf(snapshot);
  const path = join(copy, file);
  const bytes = change(readFileSync(path));
  rmSync(path);
  writeFileSync(path, bytes);
  return copy;
}

/** What docs/snapshot-format.md says of the document: text at 64, its length at 12, all at 16, digest at 32. */
function rewrite(document: Buffer, edit: (content: Record<string, unknown>) => void): Buffer {
  const end = 64 + document.readUInt32LE(12);
  const content = JSON.parse(document.toString("utf8", 64, end));
  edit(content);
  const json = Buffer.from(JSON.stringify(content));
  const bytes = Buffer.concat([document.subarray(0, 64), json, document.subarray(end)]);
  bytes.writeUInt32LE(json.length, 12);
  bytes.writeBigUInt64LE(BigInt(bytes.length), 16);
  const hash = createHash("sha256").update(bytes.subarray(0, 32)).update(bytes.subarray(64));
  bytes.set(hash.digest(), 32);
  return bytes;
}

const edited = (edit: (content: Record<string, unknown>) => void) =>
  withFile(original, "machine", (document) => rewrite(document, edit));
const withMetadata = (changes: object) =>
  edited((content) => {
    content["metadata"] = JSON.stringify({ ...metadata, ...changes });
  });

test("a snapshot that is whole is taken, from a directory by any name", async () => {
  for (const isolation of ["inline", "process"] as const) {
    expect(await refusal(original, { isolation })).toBe(ACCEPTED);
    expect(await refusal(onBase, { isolation })).toBe(ACCEPTED);
  }
  expect(await refusal(copyOf(onBase))).toBe(ACCEPTED);
  expect(await refusal(edited(() => {}))).toBe(ACCEPTED);
});

test("any byte of its document changed is noticed", async () => {
  const copy = withFile(original, "machine", (bytes) => bytes);
  const whole = readFileSync(join(copy, "machine"));
  const every = Math.max(1, Math.floor(whole.length / 200));
  for (let at = 0; at < whole.length; at += at < 96 ? 1 : every) {
    const bytes = Buffer.from(whole);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
    writeFileSync(join(copy, "machine"), bytes);
    const expected =
      at < 8 ? "ERR_SNAPSHOT_FORMAT" : at < 12 ? "ERR_SNAPSHOT_VERSION" : "ERR_SNAPSHOT_CORRUPT";
    expect([at, await refusal(copy)]).toEqual([at, expected]);
  }
});

test("a document that is cut short anywhere is noticed", async () => {
  const copy = withFile(original, "machine", (bytes) => bytes);
  const whole = readFileSync(join(copy, "machine"));
  const every = Math.max(1, Math.floor(whole.length / 200));
  for (let length = 0; length < whole.length; length += length < 96 ? 1 : every) {
    writeFileSync(join(copy, "machine"), whole.subarray(0, length));
    const expected = length < 8 ? "ERR_SNAPSHOT_FORMAT" : CORRUPT;
    expect([length, await refusal(copy)]).toEqual([length, expected]);
  }
});

/** Where the memory of a layer is, as the document says. */
function extentsOf(snapshot: string, layer: number): { offset: number; length: number }[] {
  const document = readFileSync(join(snapshot, "machine"));
  const end = 64 + document.readUInt32LE(12);
  const { layers } = JSON.parse(document.toString("utf8", 64, end));
  let at = end + 4 * document.readUInt32LE(24);
  for (let n = 0; n < layers[layer].extents.blob; n++) at += document.readUInt32LE(end + 4 * n);
  const length = document.readUInt32LE(end + 4 * layers[layer].extents.blob);
  return Array.from({ length: length / 16 }, (_, n) => ({
    offset: Number(document.readBigUInt64LE(at + 16 * n)),
    length: document.readUInt32LE(at + 16 * n + 8),
  }));
}

test("a byte of its memory changed is noticed before anything runs, in each of its files", async () => {
  for (const [file, layer] of [
    ["memory", 1],
    ["base-0", 0],
  ] as const) {
    const copy = withFile(onBase, file, (bytes) => bytes);
    const whole = readFileSync(join(copy, file));
    const extents = extentsOf(copy, layer);
    expect(file === "memory" || extents.length > 0).toBe(true);
    const places = extents.flatMap(({ offset, length }) => [
      offset,
      offset + Math.floor(length / 2),
      offset + length - 1,
    ]);
    // The first byte of the layer's id, which is behind all memory.
    for (const at of [...places, whole.length - 4096]) {
      const fd = openSync(join(copy, file), "r+");
      writeSync(fd, Buffer.of((whole[at] ?? 0) ^ 1), 0, 1, at);
      expect([file, at, await refusal(copy)]).toEqual([file, at, CORRUPT]);
      writeSync(fd, whole, at, 1, at);
      closeSync(fd);
    }
    expect(await refusal(copy)).toBe(ACCEPTED);
    for (const length of [whole.length + 1, whole.length - 1, whole.length - 4096, 4096, 1, 0]) {
      truncateSync(join(copy, file), length);
      expect([file, length, await refusal(copy)]).toEqual([file, length, CORRUPT]);
    }
  }
});

test("files that are missing, exchanged or none are noticed", async () => {
  for (const file of ["memory", "base-0", "machine"]) {
    const change: ((path: string) => void)[] = [
      () => {},
      (path) => mkdirSync(path),
      (path) => symlinkSync(join(onBase, file), path),
      ...(file === "machine" ? [] : [(path: string) => linkSync(join(onBase, "machine"), path)]),
    ];
    for (const make of change) {
      const copy = copyOf(onBase);
      rmSync(join(copy, file));
      make(join(copy, file));
      const expected = file === "machine" ? /ERR_SNAPSHOT_(CORRUPT|FORMAT)/ : CORRUPT;
      expect(await refusal(copy)).toMatch(expected);
    }
  }
  const exchanged = withFile(onBase, "memory", () => readFileSync(join(onBase, "base-0")));
  expect(await refusal(exchanged)).toBe(CORRUPT);
  expect(await refusal(join(directory, "none"))).toBe(CORRUPT);
  expect(await refusal(join(directory, "kernel"))).toBe(CORRUPT);
});

test("what was made elsewhere is refused with what is different", async () => {
  const cpu = (changes: object) =>
    edited((content) => {
      content["cpuModel"] = { ...(content["cpuModel"] as object), ...changes };
    });
  const { provenance } = metadata as { provenance: { image: object; guest: string } };
  const image = (changes: object) =>
    withMetadata({ provenance: { ...provenance, image: { ...provenance.image, ...changes } } });
  const member = (name: string, value: unknown) =>
    edited((content) => {
      content[name] = value;
    });
  const version = withFile(original, "machine", (document) => {
    document.writeUInt32LE(99, 8);
    return document;
  });
  const features = Array.from({ length: 64 }, () => 0xffff_ffff);
  const cases: [string, string][] = [
    ["ERR_SNAPSHOT_VERSION", version],
    ["ERR_SNAPSHOT_CPU", cpu({ vendor: "ArtificialCPU" })],
    ["ERR_SNAPSHOT_CPU", cpu({ signature: 1 })],
    ["ERR_SNAPSHOT_CPU", cpu({ features: features.slice(0, 12) })],
    ["ERR_SNAPSHOT_FORMAT", member("architecture", "arm64")],
    ["ERR_SNAPSHOT_FORMAT", member("hypervisor", "hvf")],
    ["ERR_SNAPSHOT_FORMAT", member("metadata", "")],
    ["ERR_SNAPSHOT_FORMAT", member("metadata", "{")],
    [CORRUPT, member("layers", [{ file: "../memory", id: "", extents: { blob: 0 } }])],
    [CORRUPT, withMetadata({ bootTimeoutMs: -1 })],
    [CORRUPT, withMetadata({ shares: [{}] })],
    ["ERR_SNAPSHOT_KERNEL", withMetadata({ provenance: { ...provenance, guest: "other" } })],
    ["ERR_SNAPSHOT_IMAGE", image({ name: "absent" })],
    ["ERR_SNAPSHOT_IMAGE", image({ digest: `sha256:${"0".repeat(64)}` })],
  ];
  for (const [n, [code, snapshot]] of cases.entries()) {
    expect([n, await refusal(snapshot)]).toEqual([n, code]);
  }
  const mounts = [{ host: directory, guest: "/share" }];
  expect(await refusal(original, { mounts })).toBe("ERR_SNAPSHOT_DEVICES");
});

test("nothing stays open, whatever was refused and where", async () => {
  const [{ offset, length } = { offset: 0, length: 0 }] = extentsOf(original, 0);
  const damaged = withFile(original, "memory", (bytes) => bytes.fill(7, offset, offset + length));
  const round = async () => {
    for (const isolation of ["inline", "process"] as const) {
      expect(await refusal(original, { isolation })).toBe(ACCEPTED);
      expect(await refusal(damaged, { isolation })).toBe(CORRUPT);
      expect(await refusal(join(directory, "none"), { isolation })).toBe(CORRUPT);
    }
  };
  await round();
  const before = openDescriptors().length;
  await round();
  await vi.waitFor(() => expect(openDescriptors().length).toBeLessThanOrEqual(before), 5000);
});
