import fc from "fast-check";
import { expect, test } from "vitest";
import { VmmError } from "../errors.js";
import { decodeDocument, documentHeader } from "./document.js";
import { decodeMachineState, encodeMachineState, type MachineState } from "./machine-state.js";

const state: MachineState = {
  hypervisor: "kvm",
  cpuModel: { vendor: "AuthenticAMD", signature: 0x800f12, features: [1, 2, 0xffff_ffff] },
  memoryMiB: 64,
  vcpus: [Buffer.from("first"), Buffer.from("second")],
  vm: Buffer.from("interrupts"),
  serial: Buffer.alloc(16, 3),
  devices: [
    {
      deviceId: 26,
      registers: Buffer.alloc(40, 7),
      queues: [{ lastAvailableIndex: 65_535, usedIndex: 0 }, null],
      state: Buffer.from("nodes"),
    },
    { deviceId: 4, registers: Buffer.alloc(8), queues: [], state: null },
  ],
  layers: [
    { file: "base-0", id: "00".repeat(16), extents: [{ offset: 0, length: 65_536, crc32: 5 }] },
    { file: "memory", id: "ab".repeat(16), extents: [{ offset: 4096, length: 8192, crc32: 6 }] },
  ],
  metadata: "how it was",
};

const read = (bytes: Uint8Array) => decodeMachineState("test", decodeDocument("test", bytes));

function codeOf(bytes: Uint8Array): string {
  try {
    read(bytes);
    return "none";
  } catch (error) {
    return error instanceof VmmError ? error.code : `${error}`;
  }
}

test("a document is read as it was written", () => {
  const { devices, ...found } = read(encodeMachineState(state));
  const { devices: expected, ...rest } = state;
  expect(found).toEqual(rest);
  expect(devices).toEqual(expected);
});

test("a document with any one byte changed is refused, by name", () => {
  const bytes = encodeMachineState(state);
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes);
    changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
    expect(codeOf(changed)).toMatch(/^ERR_VMM_SNAPSHOT_(FORMAT|VERSION|CORRUPT)$/);
  }
});

test("a document that ends too early or too late is refused, by name", () => {
  const bytes = encodeMachineState(state);
  for (let length = 0; length < bytes.length; length++) {
    expect(codeOf(bytes.subarray(0, length))).toMatch(/^ERR_VMM_SNAPSHOT_(FORMAT|CORRUPT)$/);
  }
  expect(codeOf(Buffer.concat([bytes, Buffer.alloc(1)]))).toBe("ERR_VMM_SNAPSHOT_CORRUPT");
});

test("a document of another format version says so", () => {
  const bytes = Buffer.from(encodeMachineState(state));
  bytes.writeUInt32LE(2, documentHeader.offsets.version);
  expect(codeOf(bytes)).toBe("ERR_VMM_SNAPSHOT_VERSION");
});

test("what a checksum cannot tell is refused as well: values that are not what they must be", () => {
  const size = 64 << 20;
  const wrong: Partial<MachineState>[] = [
    { memoryMiB: 2 ** 21 },
    { memoryMiB: 1.5 },
    { layers: [{ file: "../../etc/passwd", id: "00".repeat(16), extents: [] }] },
    { layers: [{ file: "memory", id: "short", extents: [] }] },
    ...[
      [{ offset: 1, length: 4096, crc32: 0 }],
      [{ offset: 0, length: 0, crc32: 0 }],
      [{ offset: size, length: 4096, crc32: 0 }],
      [
        { offset: 4096, length: 4096, crc32: 0 },
        { offset: 0, length: 8192, crc32: 0 },
      ],
    ].map((extents) => ({ layers: [{ file: "memory", id: "00".repeat(16), extents }] })),
  ];
  for (const part of wrong) {
    expect(codeOf(encodeMachineState({ ...state, ...part }))).toBe("ERR_VMM_SNAPSHOT_CORRUPT");
  }
});

test("any other bytes are refused", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(codeOf(bytes)).toBe("ERR_VMM_SNAPSHOT_FORMAT");
      const begun = Buffer.concat([Buffer.from("SMSNAP\r\n\x01\0\0\0"), bytes]);
      expect(codeOf(begun)).toBe("ERR_VMM_SNAPSHOT_CORRUPT");
    }),
  );
});
