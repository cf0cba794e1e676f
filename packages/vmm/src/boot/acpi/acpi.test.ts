import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireFacility } from "@supermachine-internal/testing";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MAX_CPUS } from "../../machine-options.js";
import { ACPI_ADDRESS, GENERATION_ID_ADDRESS, MAX_DEVICES } from "../../memory-map.js";
import { aPackage, integer, name, scope, string } from "./aml.js";
import { buildAcpiTables } from "./tables.js";

const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);

const windows = (count: number) =>
  Array.from({ length: count }, (_, index) => ({
    address: 0xd000_0000 + index * 0x1000,
    size: 0x1000,
    gsi: 5 + index,
  }));

/** The tables that a root pointer leads to, by signature, as an operating system finds them. */
function findTables(memory: Buffer): Map<string, Buffer> {
  const tableAt = (address: bigint) => {
    const bytes = memory.subarray(Number(address) - ACPI_ADDRESS);
    return bytes.subarray(0, bytes.readUInt32LE(4));
  };
  const signature = (table: Buffer) => table.toString("latin1", 0, 4);
  const xsdt = tableAt(memory.readBigUInt64LE(24));
  const tables = [xsdt];
  for (let at = 36; at < xsdt.length; at += 8) tables.push(tableAt(xsdt.readBigUInt64LE(at)));
  const fadt = tables.find((table) => signature(table) === "FACP");
  tables.push(tableAt(fadt?.readBigUInt64LE(140) ?? 0n));
  return new Map(tables.map((table) => [signature(table), table]));
}

describe.each([
  [1, 0],
  [2, 5],
  [MAX_CPUS, MAX_DEVICES],
])("the ACPI tables of %i CPUs and %i devices", (cpus, devices) => {
  const memory = Buffer.from(buildAcpiTables(cpus, windows(devices), ACPI_ADDRESS));

  test("are linked, whole and leave room", () => {
    expect(memory.toString("latin1", 0, 8)).toBe("RSD PTR ");
    expect(sum(memory.subarray(0, 20))).toBe(0);
    expect(sum(memory.subarray(0, 36))).toBe(0);
    const tables = findTables(memory);
    expect([...tables.keys()]).toEqual(["XSDT", "FACP", "APIC", "DSDT"]);
    for (const table of tables.values()) expect(sum(table)).toBe(0);
    expect(ACPI_ADDRESS + memory.length).toBeLessThanOrEqual(GENERATION_ID_ADDRESS);
    expect(tables.get("APIC")?.length).toBe(44 + 8 * cpus + 12 + 6);
  });

  requireFacility("program:iasl").describe("as ACPICA's disassembler reads them", () => {
    let directory = "";
    const sources = new Map<string, string>();
    beforeAll(() => {
      directory = mkdtempSync(join(tmpdir(), "acpi-"));
      for (const [signature, table] of findTables(memory)) {
        const path = join(directory, signature);
        writeFileSync(`${path}.dat`, table);
        execFileSync("iasl", ["-d", `${path}.dat`], { cwd: directory, stdio: "pipe" });
        sources.set(signature, readFileSync(`${path}.dsl`, "utf8"));
      }
    });
    afterAll(() => rmSync(directory, { recursive: true }));

    test("the devices are where they are, and the event device notifies the generation id", () => {
      const text = (sources.get("DSDT") ?? "").replaceAll(/\s+/g, " ");
      expect(text.match(/"LNRO0005"/g)?.length ?? 0).toBe(devices);
      for (const { address, gsi } of windows(devices)) {
        expect(text).toContain(`0x${address.toString(16).toUpperCase()}, // Address Base`);
        expect(text).toContain(`0x${gsi.toString(16).toUpperCase().padStart(8, "0")}, }`);
      }
      expect(text).toMatch(/Method \(_EVT, 1, NotSerialized\).* \{ Notify \(VGEN, 0x80\)/);
      expect(text).toContain(
        `Name (ADDR, Package (0x02) { 0x${GENERATION_ID_ADDRESS.toString(16).toUpperCase().padStart(8, "0")}, Zero })`,
      );
    });

    test("the disassembly of the DSDT compiles without a warning", () => {
      const run = spawnSync("iasl", ["-p", "again", "DSDT.dsl"], {
        cwd: directory,
        encoding: "utf8",
      });
      expect(run.stdout).toMatch(/0 Errors, 0 Warnings/);
      const again = readFileSync(join(directory, "again.aml"));
      const table = findTables(memory).get("DSDT");
      expect(again.subarray(36).equals(table?.subarray(36) ?? Buffer.alloc(0))).toBe(true);
    });

    test("the fixed tables say what the machine has", () => {
      const fadt = sources.get("FACP") ?? "";
      expect(fadt).toMatch(/Hardware Reduced \(V5\) : 1/);
      expect(fadt).toMatch(/Reset Register Supported \(V2\) : 1/);
      expect(sources.get("APIC")?.match(/Processor Enabled : 1/g)?.length).toBe(cpus);
      for (const source of sources.values()) expect(source).not.toMatch(/error|invalid|unknown/i);
    });
  });
});

describe("AML", () => {
  test.each([
    [0, "00"],
    [1, "01"],
    [0xff, "0aff"],
    [0x1234, "0b3412"],
    [0x1234_5678, "0c78563412"],
    [0x1_0000_0000, "0e0000000001000000"],
  ])("the integer %i", (value, hex) => {
    expect(Buffer.from(integer(value).bytes).toString("hex")).toBe(hex);
  });

  test.each([59, 60, 61, 4088, 4089, 4090, 70_000])(
    "a scope of %i bytes has its length",
    (size) => {
      const content = name("A", string("x".repeat(size)));
      const bytes = Buffer.from(scope("_SB", content).bytes);
      const following = (bytes[1] ?? 0) >> 6;
      const low = (bytes[1] ?? 0) & (following === 0 ? 0x3f : 0x0f);
      const length = following === 0 ? low : bytes.readUIntLE(2, following) * 0x10 + low;
      expect(length).toBe(bytes.length - 1);
    },
  );

  test("refuses what it cannot say", () => {
    expect(() => integer(-1)).toThrow(RangeError);
    expect(() => integer(0.5)).toThrow(RangeError);
    expect(() => string("ä")).toThrow(RangeError);
    expect(() => name("TOOLONG", aPackage())).toThrow(RangeError);
  });
});
