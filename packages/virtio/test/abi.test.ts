import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import * as block from "../src/device/block/block-layout.js";
import * as consoleDevice from "../src/device/console/console-device.js";
import * as fs from "../src/device/fs/fs-device.js";
import { VIRTIO_ID_RNG } from "../src/device/rng/rng-device.js";
import * as vsock from "../src/device/vsock/vsock-layout.js";
import * as feature from "../src/feature.js";
import * as ring from "../src/queue/ring-layout.js";
import * as mmio from "../src/transport/mmio-layout.js";

const HEADERS = [
  "virtio_ring",
  "virtio_blk",
  "virtio_vsock",
  "virtio_fs",
  "virtio_console",
  "virtio_mmio",
  "virtio_config",
  "virtio_ids",
  "vm_sockets",
].map((name) => `linux/${name}.h`);

const missing = ["gcc", "cc", "clang"].every((compiler) => !hasCommand(compiler))
  ? "a C compiler"
  : HEADERS.find((header) => !existsSync(join("/usr/include", header)));
if (missing !== undefined) reportSkip(missing);

function hasCommand(name: string): boolean {
  return (process.env["PATH"] ?? "")
    .split(":")
    .some((directory) => existsSync(join(directory, name)));
}

function reportSkip(what: string): void {
  process.stderr.write(
    `skipped: the layouts are not compared with the C headers, ${what} is missing\n`,
  );
}

const directory = mkdtempSync(join(tmpdir(), "virtio-abi-"));
afterAll(() => rmSync(directory, { recursive: true }));

/** Compiles a C program that prints each expression, and answers the numbers. */
function evaluate(expressions: readonly string[]): Map<string, bigint> {
  const source = join(directory, "probe.c");
  const program = join(directory, "probe");
  const prints = expressions.map(
    (expression) =>
      `  printf("%s\\t%lld\\n", ${JSON.stringify(expression)}, (long long)(${expression}));`,
  );
  writeFileSync(
    source,
    [
      "#include <stddef.h>",
      "#include <stdio.h>",
      "#include <sys/socket.h>",
      ...HEADERS.map((header) => `#include <${header}>`),
      "int main(void) {",
      ...prints,
      "}",
    ].join("\n"),
  );
  execFileSync("cc", ["-o", program, source]);
  const lines = execFileSync(program, { encoding: "utf8" }).trim().split("\n");
  return new Map(
    lines.map((line) => {
      const [expression = "", value = ""] = line.split("\t");
      return [expression, BigInt(value)];
    }),
  );
}

describe.skipIf(missing !== undefined)(
  `layouts and numbers are those of the C headers${missing ? ` [needs headers: ${missing}]` : ""}`,
  () => {
    const structs = [
      ring.vringDesc,
      ring.vringAvail,
      ring.vringUsed,
      ring.vringUsedElem,
      block.virtioBlkConfig,
      block.virtioBlkOuthdr,
      block.virtioBlkDiscardWriteZeroes,
      consoleDevice.virtioConsoleConfig,
      fs.virtioFsConfig,
      vsock.virtioVsockConfig,
      vsock.virtioVsockEvent,
      vsock.virtioVsockHdr,
    ];

    test.each(structs.map((struct) => [struct.name, struct] as const))(
      "struct %s",
      (name, struct) => {
        const size = `sizeof(struct ${name})`;
        const fields = Object.entries(struct.offsets).map(
          ([field, offset]) => [`offsetof(struct ${name}, ${field})`, BigInt(offset)] as const,
        );
        const values = evaluate([size, ...fields.map(([expression]) => expression)]);
        expect(values.get(size)).toBe(BigInt(struct.size));
        for (const [expression, offset] of fields)
          expect([expression, values.get(expression)]).toEqual([expression, offset]);
      },
    );

    test("constants", () => {
      const all = Object.entries({
        ...ring,
        ...block,
        ...consoleDevice,
        ...fs,
        ...vsock,
        ...mmio,
        ...feature,
        VIRTIO_ID_RNG,
      });
      /** Masks made of two constants of the header. */
      const combined = new Set(["VIRTIO_VSOCK_SHUTDOWN_BOTH"]);
      const constants = all.flatMap(([name, value]) => {
        if (!/^(VIRTIO|VRING|VMADDR)_/.test(name) || combined.has(name)) return [];
        // The headers number feature bits, we hold masks.
        const isMask = typeof value === "bigint";
        if (!isMask && typeof value !== "number") return [];
        return [[isMask ? `1ull << ${name}` : name, BigInt(value)] as const];
      });
      expect(constants.length).toBeGreaterThan(80);
      const values = evaluate(constants.map(([expression]) => expression));
      expect(Object.fromEntries(values)).toEqual(Object.fromEntries(constants));
    });
  },
);
